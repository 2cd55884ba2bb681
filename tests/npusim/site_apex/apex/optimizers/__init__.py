from .npu_fused_adam import NpuFusedAdam, NpuFusedRMSprop

__all__ = ["NpuFusedAdam", "NpuFusedRMSprop"]
