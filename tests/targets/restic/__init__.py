"""The restic adapter: its pure parts on recorded words of three versions, the whole of it on the restic at hand."""
