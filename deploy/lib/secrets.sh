# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with quickstart.sh
# Fresh secrets and certificates for one run. They live in the run's own directory (mode 0700) and in
# the guest's memory, and are gone when the run is.

new_secret() { # file mode
  (umask 077 && openssl rand -hex 32 >"$1") && chmod "$2" "$1"
}

# SHA-256 of the 32 bytes that a secret file spells in hexadecimal digits.
secret_sha256() { # file
  python3 -c 'import hashlib, sys
print(hashlib.sha256(bytes.fromhex(open(sys.argv[1]).read())).hexdigest())' "$1"
}

# A certificate authority of this run, and one certificate for each end of the API's connection.
make_certificates() { # directory
  local directory=$1 end
  (
    umask 077
    cd "$directory" || exit 1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
      -subj "/CN=vmsrs run" -keyout ca.key -out ca.pem
    for end in guest host; do
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$end" \
        -keyout $end.key -out $end.csr
      openssl x509 -req -in $end.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $end.crt
      cat $end.key $end.crt >$end.pem
    done
    # The authority's key is of no more use: nobody else can be let in.
    rm -f ca.key ./*.csr ./*.crt guest.key host.key ca.srl
  )
}
