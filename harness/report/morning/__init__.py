"""What a person wants to know each morning: what broke last night, what is flaky, what still fails, what is
missing."""
