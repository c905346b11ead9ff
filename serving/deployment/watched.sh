# Runs TensorFlow Serving, and ends it when it no longer answers, so that the container's restart policy starts it anew.
# (A health check alone changes nothing but what `docker ps` shows.)
#
#   bash watched.sh MODEL PORT SECONDS COMMAND [ARGUMENT ...]
#
# It's ended after three checks in a row, so many seconds apart, in which it took the connection and said nothing for so
# many seconds. A server that loads its model takes no connection yet, and is left alone, as is one that answers errors.
model=$1 port=$2 seconds=$3
shift 3

"$@" &
server=$!
trap 'kill -TERM "$server"' TERM INT

unanswered=0
while kill -0 "$server" 2>/dev/null; do
    sleep "$seconds" &
    wait -n "$server" "$!"
    bash "$(dirname "${BASH_SOURCE[0]}")/healthcheck.sh" "$model" "$port" "$seconds" 2>/dev/null
    if (($? != 124)); then
        unanswered=0
    elif ((++unanswered == 3)); then
        echo "watched.sh: REST took three requests and answered none: the server is ended" >&2
        kill -KILL "$server"
        break
    fi
done
wait "$server"
