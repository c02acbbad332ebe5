"""Is a plan right, and how good is it?"""
