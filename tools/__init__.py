"""Programs for developers, which scripts/ starts: chaos, a topology of processes, the page's figures, screenshots."""
