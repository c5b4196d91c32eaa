"""What systemd is told, and what it passes on."""
