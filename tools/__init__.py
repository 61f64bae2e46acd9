"""Programs for developers, which scripts/ starts: chaos, healing, a topology, the page's figures, screenshots."""
