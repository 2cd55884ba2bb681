"""The recipe SPARNet: L1 between the restored and the true face (Chen et al., TIP 2020)."""
import torch
from torch.nn import functional as F

from models.base_model import AdamSpec, BaseModel
from models.networks import INITS, init_weights
from models.sparnet import SPARNet, attention_maps
from options.base_options import at_least, boolean


class SPARNetModel(BaseModel):
    """16 -> 128 pixels by default. Loss: lambda_pix times L1 on [-1, 1]."""

    @staticmethod
    def add_options(group):
        group.add_argument("--Gnorm", choices=["bn", "in", "none"], default="bn", help="normalisation")
        group.add_argument("--res_depth", type=int, default=10, help="depth of the body")
        group.add_argument("--att_name", choices=["spar", "spar3d"], default="spar",
                           help="attention: one map a block, or one a channel")
        group.add_argument("--bottleneck_size", type=at_least(1), default=4, help="smallest size in an hourglass")
        group.add_argument("--min_ch", type=at_least(1), default=32, help="fewest channels")
        group.add_argument("--max_ch", type=at_least(1), default=128, help="most channels")
        group.add_argument("--hourglass_ch", type=at_least(1), default=64, help="channels in an hourglass")
        group.add_argument("--residual", type=boolean, nargs="?", const=True, default=False,
                           help="add the input to the output, which is the input at first: for inputs that may be good")
        group.add_argument("--init_type", choices=INITS, default="normal",
                           help="first weights: N(0, 0.02) as published, or kaiming, which learns faster at first")
        group.add_argument("--lambda_pix", type=at_least(0, float), default=1.0, help="weight of the L1 loss")

    def __init__(self, options):
        network = SPARNet(
            in_size=options.load_size, out_size=options.load_size, norm_type=options.Gnorm,
            res_depth=options.res_depth, att_name=options.att_name, bottleneck_size=options.bottleneck_size,
            min_ch=options.min_ch, max_ch=options.max_ch, hourglass_ch=options.hourglass_ch,
            residual=options.residual)
        init_weights(network, options.init_type)
        if options.residual:
            network.start_at_input()
        self.networks = {"G": network}
        self.released = self.networks
        self.lambda_pix = options.lambda_pix
        if "lr" in options:  # training: newtest.py has no such options
            self.optimizers = {"G": AdamSpec(("G",), options.lr, (options.beta1, options.beta2),
                                             options.weight_decay)}
            self.ema_decay = {"G": options.ema_decay} if options.ema_decay else {}

    def training_step(self, batch, step):
        sr = self.networks["G"](batch["lr"])
        yield "G", {"Pix": self.lambda_pix * F.l1_loss(sr, batch["hr"])}

    def restore(self, lr):
        return self.released["G"](lr)

    def pictures(self, batch):
        with attention_maps(self.released["G"]) as maps:
            sr = self.restore(batch["lr"])
        attention = list(maps.values())[-1].float().mean(1, keepdim=True)  # the last block's: full resolution
        low, high = attention.amin((1, 2, 3), keepdim=True), attention.amax((1, 2, 3), keepdim=True)
        attention = (attention - low) / (high - low).clamp(min=1e-6)  # each map stretched to its own range
        return {"LR": batch["lr"], "SR": sr, "HR": batch["hr"],
                "attention": heat(F.interpolate(attention, size=sr.shape[-2:], mode="nearest"))}


def heat(values):
    """[N, 1, H, W] in [0, 1] -> RGB in [-1, 1] from black over red and yellow to white."""
    return torch.cat([(values * 3 - band).clamp(0, 1) for band in range(3)], 1) * 2 - 1
