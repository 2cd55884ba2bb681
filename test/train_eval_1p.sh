#!/bin/bash
# Score trained weights on faces they were not trained on, restored from inputs 8 times smaller.
#
#   bash test/train_eval_1p.sh --pth_path=test/output/0/train_full_1p/best_net_G.pth [--data_path=FACES]
#
# The faces are FACES/test, else FACES/val, else all of FACES, which must then be unseen ones; without --data_path
# built-in faces that no training draws. An options.yml beside the weights says how the network is built; without
# one, give --preset=. Prints PSNR and SSIM beside bicubic and the closing block; writes the restored faces and
# scores.json into test/output/$ASCEND_DEVICE_ID/train_eval_1p, or --output_path=FOLDER's.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh" || exit 1

parse_arguments "$evaluation_arguments" "$@"
[ -n "$pth_path" ] || die "--pth_path=WEIGHTS.pth is needed: the weights to score"
evaluate_and_report
