"""utils/modelarts.py: which script a platform's variables start, and arguments that it refuses."""
import pytest

from utils.errors import UserError
from utils.modelarts import choose_script, run_job

HOSTS = {"MA_NUM_HOSTS": "2", "VC_TASK_INDEX": "1", "VC_WORKER_HOSTS": "first.svc,second.svc", "RANK_SIZE": "16"}


@pytest.mark.parametrize("env, script, words", [
    ({}, "train_full_1p.sh", []),
    ({"ASCEND_DEVICE_ID": "3"}, "train_full_1p.sh", []),
    ({"RANK_SIZE": "1", "ASCEND_DEVICE_ID": "3"}, "train_full_1p.sh", []),
    ({"RANK_SIZE": "8", "ASCEND_DEVICE_ID": "0"}, "train_full_8p.sh", ["--rank_size=8"]),
    ({"RANK_SIZE": "8", "ASCEND_DEVICE_ID": "7"}, None, []),
    (HOSTS | {"ASCEND_DEVICE_ID": "1"}, None, []),
    (HOSTS | {"ASCEND_DEVICE_ID": "0"}, "train_full_multinodes.sh",
     ["--nnodes=2", "--node_rank=1", "--master_addr=first.svc", "--rank_size=8"]),
])
def test_card_0_of_each_host_starts_one_training(env, script, words):
    assert choose_script("full", env) == (script, words)


@pytest.mark.parametrize("change, message", [
    ({"RANK_SIZE": "x"}, "RANK_SIZE must be a number from 1, not 'x'"), ({"RANK_SIZE": "15"}, "is not a multiple of"),
    ({"VC_TASK_INDEX": ""}, "VC_TASK_INDEX must be"), ({"VC_WORKER_HOSTS": ""}, "VC_WORKER_HOSTS does not name"),
])
def test_wrong_variables(change, message):
    with pytest.raises(UserError, match=message):
        choose_script("full", HOSTS | change)


@pytest.mark.parametrize("words", [["--data_url="], ["--data_url", ""], ["--train_url= "]])
def test_an_empty_argument_is_no_folder(words):
    with pytest.raises(UserError, match=f"{words[0].split('=')[0]} is empty: give a folder"):
        run_job("full", words)
