"""Images that no camera takes, drawn by rules: text, line art, flat graphics, a night scene."""
