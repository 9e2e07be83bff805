"""Load on a server, by generators that are processes of their own."""
