"""What the routes need, made once for each process."""

from dataclasses import dataclass

from starlette.requests import Request

from midsentence.log import SessionLog
from midsentence.owners import Owners
from midsentence.settings import Settings
from midsentence.store.inspection import Inspection
from midsentence.store.store import Store
from midsentence.store.subscriptions import Subscriptions
from midsentence_server import descriptors
from midsentence_server.descriptors import Descriptors
from midsentence_server.owner_cookie import OwnerCookies
from midsentence_server.relay.hub import Hub
from midsentence_server.session_lists import SessionLists


@dataclass(frozen=True)
class Services:
    settings: Settings
    store: Store
    inspection: Inspection
    log: SessionLog
    live: Subscriptions
    owners: Owners
    session_lists: SessionLists
    owner_cookies: OwnerCookies
    hub: Hub
    descriptors: Descriptors

    @classmethod
    def on(cls, store: Store) -> "Services":
        log, live, owners = SessionLog(store), Subscriptions(store), Owners(store)
        hub = Hub(log, live, store.keys, store.settings)
        return cls(
            store.settings,
            store,
            Inspection(store),
            log,
            live,
            owners,
            SessionLists(owners),
            OwnerCookies(owners),
            hub,
            Descriptors(descriptors.limit()),
        )


def services_of(request: Request) -> Services:
    found = request.app.state.services
    assert isinstance(found, Services)  # noqa: S101 - `create_app` sets it
    return found
