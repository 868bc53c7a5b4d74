#!/bin/bash
# A history with branches and a merge, cloned, packed and checked.
set -e
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
git init -q -b main origin; cd origin
for i in $(seq 1 15); do seq 1 $((i * 100)) > "file$i"; git add .; git commit -qm "commit $i"; done
git checkout -qb side HEAD~5; echo side > side; git add .; git commit -qm side
git checkout -q main; git merge -q --no-edit side
cd ..; git clone -q "file://$PWD/origin" copy; cd copy
git gc -q --aggressive; git fsck --strict 2>&1; git log --format='%H %s' | head -3
git diff --stat HEAD~3 | tail -1; git grep -c 99 | wc -l; git stash list | wc -l
echo changed >> file1; git stash -q; git stash pop -q; git status --short
