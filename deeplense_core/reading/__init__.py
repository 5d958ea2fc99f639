"""Reading what users have: formats, FITS headers and sky, the sealed decoding process, uploads."""
