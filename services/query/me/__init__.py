"""What a visitor's own browser may read with its capability: its choices, its history, its receipts."""
