"""Speed, memory and quality: scripts that print tables and JSON. Nothing here is a test."""
