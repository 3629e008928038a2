#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A small authority for mutual TLS, in a folder of the machine where Ansible runs. Prints a line for each change that it
# makes, or would make with --check; nothing if there is nothing to do.
#
# ca.crt signs; ca.pem is what everybody trusts: ca.crt, and while the authority is being replaced its successor and its
# predecessor too.
set -eu

usage() {
  cat <<'USAGE'
usage: pki.sh [--check] ca FOLDER NAME DAYS [prepare|switch|finish]
       pki.sh [--check] sign FOLDER NAME ALTERNATIVE_NAMES DAYS RENEW_DAYS [again] <REQUEST
       pki.sh [--check] operator FOLDER NAME DAYS RENEW_DAYS [again]

  ca        makes the authority if there is none. prepare: makes its successor, whom everybody is to trust before it
            signs; switch: the successor signs from now on; finish: the predecessor is trusted no longer
  sign      issued/NAME.pem for the public key of REQUEST, unless there is one that still holds for RENEW_DAYS days, of
            this authority, with this key and these names; with `again` in any case
  operator  the same for a person: the key is made here (operators/NAME.key)
USAGE
}
fail() {
  echo "pki.sh: error: $*" >&2
  exit 1
}

check=no
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi
# Says what changes; false if it must not.
change() { # what
  echo "$*"
  [ $check = no ]
}

new_key() { # file
  (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.new" 2>/dev/null)
  mv "$1.new" "$1"
}

new_authority() { # stem name days
  new_key "$1.key"
  openssl req -x509 -new -key "$1.key" -sha256 -days "$3" -subj "/CN=$2 $(date -u +%F)" -out "$1.crt" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
}

ca() { # folder name days [phase]
  [ -d "$1" ] || ! change "folder $1" || (umask 077 && mkdir -p "$1")
  if [ ! -e "$1/ca.crt" ]; then
    [ -z "${4:-}" ] || fail "$1 has no authority that could be replaced"
    if change "authority $1/ca.crt"; then new_authority "$1/ca" "$2" "$3"; fi
  fi
  case ${4:-} in
    prepare)
      if [ ! -e "$1/next.crt" ] && change "successor $1/next.crt"; then new_authority "$1/next" "$2" "$3"; fi
      ;;
    switch)
      if [ -e "$1/next.crt" ]; then
        if change "the successor signs"; then
          mv "$1/ca.crt" "$1/previous.crt"
          mv "$1/next.key" "$1/ca.key"
          mv "$1/next.crt" "$1/ca.crt"
        fi
      elif [ ! -e "$1/previous.crt" ]; then
        fail "$1 has no successor: prepare it first, and have every host trust it"
      fi
      ;;
    finish)
      [ ! -e "$1/next.crt" ] || fail "the successor in $1 does not sign yet: switch first"
      if [ -e "$1/previous.crt" ] && change "the predecessor is no longer trusted"; then rm "$1/previous.crt"; fi
      ;;
    '') ;;
    *) fail "expected prepare, switch or finish, got '$4'" ;;
  esac
  [ -e "$1/ca.crt" ] || return 0
  trusted=$(for file in "$1/ca.crt" "$1/next.crt" "$1/previous.crt"; do [ ! -e "$file" ] || cat "$file"; done)
  if [ "$trusted" != "$(cat "$1/ca.pem" 2>/dev/null)" ] && change "trusted $1/ca.pem"; then
    echo "$trusted" >"$1/ca.pem.new"
    mv "$1/ca.pem.new" "$1/ca.pem"
  fi
}

public_key_of() { # certificate
  openssl x509 -in "$1" -noout -pubkey
}
names_of() { # certificate
  openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null | sed -n '2s/IP Address:/IP:/g; 2s/ //gp'
}

# Why there must be a new certificate; nothing if there need not be.
reason() { # certificate folder public-key alternative-names renew-days again
  if [ -n "$6" ]; then
    echo "asked for"
  elif [ ! -e "$1" ]; then
    echo "new"
  elif ! openssl verify -CAfile "$2/ca.crt" "$1" >/dev/null 2>&1; then
    echo "not of this authority, or over"
  elif ! openssl x509 -in "$1" -noout -checkend $(($5 * 86400)) >/dev/null; then
    echo "ends soon"
  elif [ "$(public_key_of "$1")" != "$3" ]; then
    echo "another key"
  elif [ "$(names_of "$1")" != "$4" ]; then
    echo "other names"
  fi
}

certify() { # certificate folder name alternative-names days renew-days again request
  key=$(openssl req -in "$8" -noout -verify -pubkey 2>/dev/null) || fail "$3: not a request for a certificate"
  why=$(reason "$1" "$2" "$key" "$4" "$6" "$7")
  [ -n "$why" ] && change "certificate of $3: $why" || return 0
  extensions=$(printf '%s\n' "subjectAltName=$4" basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
    extendedKeyUsage=serverAuth,clientAuth subjectKeyIdentifier=hash authorityKeyIdentifier=keyid)
  echo "$extensions" >"$1.extensions"
  # The names are those of the inventory, whatever the request says.
  openssl x509 -req -in "$8" -CA "$2/ca.crt" -CAkey "$2/ca.key" -set_serial "0x$(openssl rand -hex 16)" -sha256 \
    -days "$5" -subj "/CN=$3" -extfile "$1.extensions" -out "$1.new" 2>"$1.log" ||
    fail "$3: $(tail -n 1 "$1.log")"
  rm -f "$1.extensions" "$1.log"
  mv "$1.new" "$1"
}

sign() { # folder name alternative-names days renew-days [again]
  mkdir -p "$1/issued"
  request=$1/issued/$2.csr
  cat >"$request"
  certify "$1/issued/$2.pem" "$1" "$2" "$3" "$4" "$5" "${6:-}" "$request"
  rm -f "$request"
}

operator() { # folder name days renew-days [again]
  (umask 077 && mkdir -p "$1/operators")
  if [ ! -e "$1/operators/$2.key" ]; then
    change "key of $2" || return 0
    new_key "$1/operators/$2.key"
  fi
  request=$1/operators/$2.csr
  openssl req -new -key "$1/operators/$2.key" -subj "/CN=$2" -out "$request"
  certify "$1/operators/$2.pem" "$1" "$2" "DNS:$2" "$3" "$4" "${5:-}" "$request"
  rm -f "$request"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command:$# in
  ca:[34] | sign:[56] | operator:[45]) "$command" "$@" ;;
  *)
    usage >&2
    exit 2
    ;;
esac
