#!/bin/sh
# Becomes the command, with each file of /run/secrets that is called as a variable, in capitals, as this variable: the
# programs here read a password from nothing else, and `docker inspect` would show one that stood in the compose file.
set -eu
for file in /run/secrets/*; do
  case ${file##*/} in
    *[!A-Z0-9_]*) ;;
    *) export "${file##*/}=$(cat "$file")" ;;
  esac
done
exec "$@"
