"""Results for people and for other programs; nothing is decided here."""
