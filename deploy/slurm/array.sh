#!/bin/bash
# Slurm: an array of N tasks, each makes every N-th row of the matrix. In the directory of the matrix:
#   sbatch --array=0-3 array.sh matrix.toml
# To set: the array, which counts from 0; MOBY where the program is not on the PATH of the nodes; TRIES.
#SBATCH --job-name=moby
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --requeue
set -u
matrix=${1:-matrix.toml}
tries=${TRIES:-3}
# Slurm asks nobody whether a failure would be another one next time: this does. A node that fails is Slurm's matter (--requeue).
for ((try = 1; try <= tries; try++)); do
    code=0
    "${MOBY:-moby}" plan "$matrix" --run --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
        --threads "${SLURM_CPUS_PER_TASK:-1}" --progress plain || code=$?
    case $code in
        0 | 1 | 2 | 3) exit "$code" ;;
    esac
    [ "$try" = "$tries" ] || sleep $((5 * try))
done
exit "$code"
