# Whether TensorFlow Serving answers over REST and the model serves.
#
#   bash healthcheck.sh MODEL PORT SECONDS
#
# Exit code 0: a version is available. 1: it isn't, or nothing listens. 124: the server took the connection and said
# nothing, or not all, for so many seconds. The image has bash and coreutils, but no curl.
exec timeout --kill-after=1 "$3" bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$2" || exit 1
    printf "GET /v1/models/%s HTTP/1.0\r\n\r\n" "$1" >&3
    read -r protocol status _ <&3
    [[ $protocol == HTTP/* && $status == 200 ]] || exit 1
    # The code is 200 even while no version serves.
    grep -q "\"AVAILABLE\"" <&3
' healthcheck "$1" "$2"
