#!/bin/sh
# Makes the certificates that tests use: an authority, two servers and a client of it, and a client of another one.
set -eu
cd "$(dirname "$0")"

authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=anybucket test $1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout "$1.key" -out "$1.pem"
}

signed() { # NAME AUTHORITY USAGE
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n' "$3" > "$1.ext"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 36500 -extfile "$1.ext" -out "$1.pem"
  rm "$1.ext" "$1.csr"
}

authority ca
authority other
signed server ca serverAuth
signed second ca serverAuth
signed member ca clientAuth
signed stranger other clientAuth
rm -f ca.key other.key other.pem ./*.srl
