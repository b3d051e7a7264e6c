"""What is removed: the data of withdrawn patients, and the files of old versions."""
