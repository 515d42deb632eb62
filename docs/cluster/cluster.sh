#!/usr/bin/env bash
# What a sweep on a cluster needs, brought up on this machine without docker: PostgreSQL, an MLflow server over it,
# a Dask scheduler and workers.
#
#   docs/cluster/cluster.sh up [DIR]      # everything is kept in DIR; default: outputs/cluster
#   docs/cluster/cluster.sh down [DIR]    # ends it; what was recorded stays for the next `up`
#
# HOST is the address that MLflow and Dask listen on (default 127.0.0.1: this machine alone; whoever reaches Dask's
# port can run code, so name one of a private network). Ports: PG_PORT, MLFLOW_PORT, DASK_PORT. WORKERS: how many.
# PYTHON: where backproof[dask,postgres] is installed. PostgreSQL's programs are taken from PATH or Debian's folder.
set -euo pipefail

what=${1:-}
dir=$(realpath -m "${2:-outputs/cluster}")
host=${HOST:-127.0.0.1}
pg_port=${PG_PORT:-5433} mlflow_port=${MLFLOW_PORT:-5000} dask_port=${DASK_PORT:-8786}
python=${PYTHON:-python}
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')
data=$dir/postgres

# PostgreSQL refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- env PATH="$PATH" "$@"); else "$@"; fi; }

start() { # start NAME COMMAND...: in the background, with its output in a log and its number in a file
    local name=$1
    shift
    setsid nohup "$@" >"$dir/$name.log" 2>&1 &
    echo $! >"$dir/$name.pid"
}

wait_for() { # wait_for NAME PORT
    for _ in $(seq 600); do
        (exec 3<>"/dev/tcp/$host/$2") 2>/dev/null && return
        kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null || break
        sleep 0.2
    done
    echo "$1 did not start on $host:$2, see $dir/$1.log:" >&2
    tail -n 5 "$dir/$1.log" >&2
    exit 1
}

up() {
    command -v pg_ctl >/dev/null || { echo "PostgreSQL is not installed: apt install postgresql" >&2; exit 2; }
    "$python" -c 'import distributed, framework, psycopg2' ||
        { echo "install it first: pip install 'backproof[dask,postgres]' (or name another PYTHON)" >&2; exit 2; }
    mkdir -p "$dir/artifacts"
    if [ ! -f "$data/PG_VERSION" ]; then
        (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$dir/password")
        mkdir -p -m 700 "$data"
        [ "$(id -u)" != 0 ] || chown postgres "$data" "$dir/password"
        as_postgres initdb -D "$data" -U backproof -A scram-sha-256 -E UTF8 --pwfile="$dir/password" \
            >"$dir/initdb.log"
    fi
    as_postgres pg_ctl -D "$data" -l "$data/log" -w -s \
        -o "-p $pg_port -k $data -c listen_addresses=127.0.0.1 -c max_connections=200" start
    trap down EXIT # Unless all of it comes up, nothing stays.
    export PGPASSWORD
    PGPASSWORD=$(cat "$dir/password")
    local psql=(psql -h 127.0.0.1 -p "$pg_port" -U backproof -d postgres -Atqc)
    [ "$("${psql[@]}" "select count(*) from pg_database where datname = 'mlflow'")" = 1 ] ||
        "${psql[@]}" "create database mlflow"

    # In the environment, not on the command line: others can read that.
    MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2://backproof:$PGPASSWORD@127.0.0.1:$pg_port/mlflow \
        MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
        start mlflow "$python" -m mlflow server --workers 1 --host "$host" --port "$mlflow_port" \
        --artifacts-destination "$dir/artifacts"
    start scheduler "$python" -m dask scheduler --host "$host" --port "$dask_port" --no-dashboard \
        --dashboard-address "$host:0"
    wait_for mlflow "$mlflow_port"
    wait_for scheduler "$dask_port"
    start workers "$python" -m dask worker "tcp://$host:$dask_port" --host "$host" --nthreads 1 \
        --nworkers "${WORKERS:-2}" --no-dashboard --memory-limit 0 --local-directory "$dir/dask"
    trap - EXIT
    echo "It is up. A sweep on it:"
    echo "  backproof train -m 'seed=range(20)' hydra/launcher=dask hydra.launcher.address=tcp://$host:$dask_port" \
        "tracking.uri=http://$host:$mlflow_port"
}

down() {
    for name in workers scheduler mlflow; do
        [ -f "$dir/$name.pid" ] || continue
        local pid
        pid=$(cat "$dir/$name.pid")
        kill -TERM -- "-$pid" 2>/dev/null || true
        for _ in $(seq 50); do kill -0 -- "-$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL -- "-$pid" 2>/dev/null || true
        rm "$dir/$name.pid"
    done
    [ ! -d "$data" ] || as_postgres pg_ctl -D "$data" -m fast -s stop || true
}

case $what in
up | down) $what ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
