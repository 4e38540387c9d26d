#!/usr/bin/env bash
# Creates the files for mutual TLS: a certificate authority, a certificate for the server, one for
# clients, and ssl.config for TF Serving's --ssl_config_file.
#
#   serving/tls/make_certificates.sh FOLDER HOST [HOST ...]
#
# FOLDER  where the files go; an authority found there (ca.crt, ca.key) is used again, so that
#         clients that trust it need no new files
# HOST    names or IP addresses by which clients reach the server, such as serving.example.com
#
# Keep ca.key away from the server and its clients. Give clients ca.crt, client.crt, client.key.
set -euo pipefail

if (( $# < 2 )); then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
folder=$1
shift
authority_days=3650
days=398
umask 077 # private keys are for the owner alone
mkdir -p "$folder"

names=""
for host in "$@"; do
    if [[ $host == *:* || $host =~ ^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
        names+="${names:+,}IP:$host"
    else
        names+="${names:+,}DNS:$host"
    fi
done

new_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

# sign NAME COMMON_NAME EXTENSIONS: a key and a certificate by the authority
sign() {
    new_key "$folder/$1.key"
    openssl req -new -key "$folder/$1.key" -subj "/CN=$2" |
        openssl x509 -req -sha256 -days "$days" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" \
            -set_serial "0x$(openssl rand -hex 16)" -extfile <(printf '%s\n' "$3") \
            -out "$folder/$1.crt"
}

if [[ ! -e $folder/ca.key ]]; then
    new_key "$folder/ca.key"
    openssl req -x509 -new -sha256 -days "$authority_days" -key "$folder/ca.key" \
        -subj "/CN=far_keras serving authority" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$folder/ca.crt"
fi

common="basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid:always"
sign server "${1:0:64}" "$common
extendedKeyUsage=serverAuth
subjectAltName=$names"
sign client "far_keras client" "$common
extendedKeyUsage=clientAuth"

# An SSLConfig in protobuf's text format: the texts of the files, with \n for line ends.
quoted() {
    awk '{ printf "%s\\n", $0 }' "$folder/$1"
}
{
    echo "server_key: \"$(quoted server.key)\""
    echo "server_cert: \"$(quoted server.crt)\""
    echo "custom_ca: \"$(quoted ca.crt)\""
    echo "client_verify: true"
} > "$folder/ssl.config"

openssl verify -CAfile "$folder/ca.crt" "$folder/server.crt" "$folder/client.crt" >&2
echo "wrote $folder/{ca,server,client}.{crt,key} and $folder/ssl.config, valid for $days days" >&2
