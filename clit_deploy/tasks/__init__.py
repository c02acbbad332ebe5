"""What commands do: whole files in, whole files out."""
