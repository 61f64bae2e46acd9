"""Programs for developers that scripts/ starts: chaos, a topology of processes, the page's figures, screenshots."""
