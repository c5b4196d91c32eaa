"""What every vault must do, asked of each of them alike."""
