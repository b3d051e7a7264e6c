"""The files of a delivery, whatever it is: a folder, a zip, a tar, a single slide, here or behind a URL."""
