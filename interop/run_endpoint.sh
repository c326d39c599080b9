#!/bin/sh
# The entry point of the image, in the order of the QUIC Interop Runner: an unknown test case is answered before
# anything else, then the simulator's routes are set, then a client waits for the simulator.
set -eu

case "${ROLE:-}" in
  client | server) program="quic-interop-$ROLE" ;;
  *)
    echo "run_endpoint.sh: ROLE is '${ROLE:-}', must be client or server" >&2
    exit 1
    ;;
esac

"$program" --check || exit $?

# Both are of the runner's base image; without them the network is whatever the container has.
if [ -x /setup.sh ]; then
  /setup.sh
fi
if [ "$ROLE" = client ] && [ -x /wait-for-it.sh ]; then
  /wait-for-it.sh sim:57832 -s -t 30
fi

exec "$program"
