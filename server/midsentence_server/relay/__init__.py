"""The relay: sessions as this process follows them, and the streams of their readers."""
