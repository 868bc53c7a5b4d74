#!/bin/bash
# Pipelines, job control, traps, process substitution, coprocesses.
seq 1 1000 | grep 7 | sort -rn | head -5 | tr '\n' ' '; echo
trap 'echo got USR1' USR1
trap 'echo on exit' EXIT
kill -USR1 $$
( trap 'echo child got TERM; exit 9' TERM; kill -TERM $BASHPID; sleep 5 ); echo "child $?"
diff <(seq 1 5) <(seq 1 6) | tail -1
coproc cat; echo "to the coprocess" >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"; eval "exec ${COPROC[1]}>&-"; wait
set -m
sleep 60 & job=$!
kill -STOP $job; sleep 0.1; jobs -s | sed 's/ *$//'
kill -CONT $job; sleep 0.1; jobs -r | sed 's/ *$//'
kill %1; wait $job; echo "job ended $?"
set +m
for i in 1 2 3 4 5; do ( exit $i ) & pids[i]=$!; done
for i in 1 2 3 4 5; do wait "${pids[i]}"; printf '%d ' $?; done; echo
{ sh -c 'kill -SEGV $$'; } 2> /dev/null; echo "fault $?"
timeout 0.2 sleep 10; echo "timeout $?"
printf '#!/bin/sh -e\necho script "$@"\n' > script; chmod +x script; ./script a "b c"
PATH=.:$PATH; script found by PATH
ulimit -c 0; ulimit -v 4000000 && /bin/echo limited
exec -a renamed sh -c 'echo "$0 $(cat /proc/$$/comm)"'
