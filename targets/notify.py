"""Messages to people, through apprise."""
