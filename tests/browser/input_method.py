"""Events of an input method."""

from playwright.sync_api import Page


def choose_by(page: Page, key: str, *, typed: str, chosen: str) -> None:
    """Send a composition, a key that the input method handles itself, and the chosen word."""
    pressed = {"key": key, "code": key, "windowsVirtualKeyCode": 229}
    steps: list[tuple[str, dict[str, object]]] = [
        ("imeSetComposition", {"text": typed, "selectionStart": len(typed), "selectionEnd": len(typed)}),
        ("dispatchKeyEvent", {"type": "rawKeyDown", **pressed}),
        ("insertText", {"text": chosen}),
        ("dispatchKeyEvent", {"type": "keyUp", **pressed}),
    ]
    keyboard = page.context.new_cdp_session(page)
    for name, what in steps:
        keyboard.send(f"Input.{name}", what)  # pyright: ignore[reportUnknownMemberType]
