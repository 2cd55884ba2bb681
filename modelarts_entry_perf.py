"""ModelArts entry: runs test/train_performance_1p.sh on the faces of --data_url; writes the results to --train_url.

    python modelarts_entry_perf.py --data_url=FACES --train_url=RESULTS [arguments of the script]
"""
import sys

from utils.modelarts import run_job

if __name__ == "__main__":
    sys.exit(run_job("train_performance_1p.sh", sys.argv[1:]))
