# What the scripts share: a virtual environment in .venv that is made once and brought up to date when its sources change.
# Sourced with $root set. Nothing here needs more than a POSIX shell and Python.

venv=$root/.venv

refuse() {
    echo "${0##*/}: $*" >&2
    exit 2
}

# The first Python that is new enough and can make a virtual environment.
find_python() {
    incomplete=
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        # It is run, not only looked for: pyenv leaves shims behind for versions that are not active.
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
        incomplete=$candidate
    done
    if [ -n "$incomplete" ]; then
        refuse "$incomplete lacks the module venv or ensurepip: install it (on Debian and Ubuntu: apt install python3-venv)."
    fi
    refuse "Python 3.11 or newer is needed: install it from your system's packages or from python.org."
}

# A stamp says from what a step was made. It is written after the step and removed before it, so that an interrupted or
# failed step is done again.
is_fresh() { [ "$(cat "$venv/.made-$1" 2>/dev/null)" = "$2" ]; }
stale() { rm -f "$venv/.made-$1"; }
mark() { echo "$2" >"$venv/.made-$1"; }

checksum() { cksum <"$root/$1"; }

# Programs in a virtual environment name its Python by its full path, and packages stand under its version: one that was
# copied, or whose Python was upgraded under it, looks complete and fails.
place() { echo "$root $("$venv/bin/python" -ISc 'import sys; print(sys.version)' 2>/dev/null)"; }

# What is installed for the page, a hundred megabytes, must not be read at every start; and its tests are not built.
project_sources() {
    checksum pyproject.toml
    find "$root/frontend" \( -name node_modules -o -name __pycache__ -o -path "$root/frontend/tests" \) -prune \
        -o -type f -exec cksum {} + | LC_ALL=C sort
}

# run WHAT COMMAND…: one line for the person, the rest into a file.
run() {
    what=$1
    shift
    echo "$what…" >&2
    "$@" >"$venv/install.log" 2>&1 || refuse "$what failed (is this machine offline?); $venv/install.log says why."
}

install() {
    # A person's own `user = true` would be refused inside a virtual environment.
    PIP_USER=0 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@"
}

make_venv() {
    if [ -x "$venv/bin/python" ] && is_fresh venv "$(place)"; then return; fi
    python=$(find_python) || exit
    rm -rf "$venv"
    mkdir "$venv"
    run "Making .venv with $("$python" -V 2>&1)" "$python" -m venv "$venv"
    mark venv "$(place)"
}

# packages LOCK: the development lock holds all of the runtime lock, so that it satisfies both stamps.
packages() {
    key=$(checksum "$1")
    if is_fresh "$1" "$key"; then return; fi
    stale requirements.lock
    stale requirements-dev.lock
    run "Installing the packages of $1" install --require-hashes -r "$root/$1"
    mark "$1" "$key"
    mark requirements.lock "$(checksum requirements.lock)"
}

project() {
    key=$(project_sources)
    # The page has a stamp of its own, which goes when somebody builds it by hand from what may be other sources.
    if [ -e "$root/server/midsentence_server/page/.made-from" ] && is_fresh project "$key"; then return; fi
    stale project
    run "Installing midsentence and building its page" install --no-deps --no-build-isolation --editable "$root"
    mark project "$key"
}

set_up() {
    make_venv
    packages "$1"
    project
}
