"""The input events of an input method, such as Pinyin."""

from playwright.sync_api import Page


def press_during_composition(page: Page, key: str, *, typed: str, chosen: str) -> None:
    """Compose `typed`, press a key that the input method handles (key code 229), and insert `chosen`."""
    pressed = {"key": key, "code": key, "windowsVirtualKeyCode": 229}
    steps: list[tuple[str, dict[str, object]]] = [
        ("imeSetComposition", {"text": typed, "selectionStart": len(typed), "selectionEnd": len(typed)}),
        ("dispatchKeyEvent", {"type": "rawKeyDown", **pressed}),
        ("insertText", {"text": chosen}),
        ("dispatchKeyEvent", {"type": "keyUp", **pressed}),
    ]
    keyboard = page.context.new_cdp_session(page)
    for name, parameters in steps:
        keyboard.send(f"Input.{name}", parameters)  # pyright: ignore[reportUnknownMemberType]
