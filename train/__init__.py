"""The recipe of the default model, and how a run becomes what ships."""
