"""diffusers' U-Nets on given tensors, and configs of them. Needs torch and diffusers (checked against 0.42.1)."""
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel, UNet2DModel

CLASSES = {"UNet2DConditionModel": UNet2DConditionModel, "UNet2DModel": UNet2DModel}
CROSS_DOWN, CROSS_UP = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
SMALL = {"in_channels": 4, "out_channels": 4, "norm_num_groups": 4}
# Stable Diffusion 1's layout, at a small width.
SD = {**SMALL, "_class_name": "UNet2DConditionModel", "block_out_channels": [8, 16, 24, 24], "down_block_types": CROSS_DOWN,
      "up_block_types": CROSS_UP, "cross_attention_dim": 12, "attention_head_dim": 4}
PLAIN = {**SMALL, "_class_name": "UNet2DModel", "in_channels": 3, "out_channels": 3, "block_out_channels": [8, 12, 16],
         "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
         "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": 4}
# name -> (config, height x width, whether the text is masked)
NETS = {
    "sd": (SD, (8, 8), False),
    "sd_masked": ({**SD, "attention_head_dim": [1, 2, 4, 8], "use_linear_projection": True, "transformer_layers_per_block": 2,
                   "layers_per_block": [1, 2, 1, 1], "upcast_attention": True}, (8, 8), True),
    "sd_odd_sizes": ({**SD, "act_fn": "gelu", "layers_per_block": 1, "time_embedding_dim": 20}, (7, 13), True),
    "text_and_classes": ({**SD, "num_class_embeds": 5, "block_out_channels": [8, 16], "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                          "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "resnet_time_scale_shift": "scale_shift",
                          "transformer_layers_per_block": [1, 2], "mid_block_scale_factor": 1.5, "center_input_sample": True}, (6, 4), False),
    "classes_without_text": ({**SMALL, "_class_name": "UNet2DConditionModel", "block_out_channels": [8, 12, 16], "num_class_embeds": 7,
                              "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"], "mid_block_type": "UNetMidBlock2D",
                              "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": [2, 4, 8],
                              "act_fn": "mish"}, (8, 8), False),
    "ddpm": ({**PLAIN, "flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "norm_eps": 1e-6}, (8, 8), False),
    "plain_classes": ({**PLAIN, "num_class_embeds": 3, "resnet_time_scale_shift": "scale_shift", "act_fn": "relu",
                       "mid_block_scale_factor": 2.0, "layers_per_block": 1}, (4, 12), False),
    "plain_without_attention": ({**PLAIN, "down_block_types": ["DownBlock2D"] * 3, "up_block_types": ["UpBlock2D"] * 3, "add_attention": False,
                                 "act_fn": "gelu"}, (4, 4), False),
    # null as diffusers means it: one head as wide as the level; no middle.
    "one_head": ({**PLAIN, "attention_head_dim": None, "layers_per_block": 1}, (4, 8), False),
    "no_middle": ({**SD, "mid_block_type": None, "block_out_channels": [8, 24], "down_block_types": ["CrossAttnDownBlock2D", "AttnDownBlock2D"],
                   "up_block_types": ["AttnUpBlock2D", "CrossAttnUpBlock2D"], "attention_head_dim": [4, 2], "only_cross_attention": [False, False],
                   "cross_attention_dim": 12, "norm_num_groups": 2}, (8, 8), True),
    "plain_no_middle": ({**PLAIN, "mid_block_type": None, "layers_per_block": 1}, (8, 8), False),
}
# What is refused by its name: (config, what is changed in it). diffusers makes something of the first ones, and nothing of the last.
REFUSED = [(SD, change) for change in (
    {"only_cross_attention": True}, {"only_cross_attention": [True, False, False, False]}, {"dual_cross_attention": True},
    {"cross_attention_dim": [12, 12, 12, 8]}, {"num_class_embeds": None, "class_embed_type": "timestep"}, {"class_embed_type": "identity"},
    {"time_embedding_act_fn": "silu"}, {"timestep_post_act": "silu"}, {"time_embedding_type": "fourier"}, {"time_cond_proj_dim": 4},
    {"conv_in_kernel": 1}, {"conv_out_kernel": 5}, {"encoder_hid_dim": 7}, {"addition_embed_type": "text"}, {"attention_type": "gated"},
    {"class_embeddings_concat": True}, {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, {"out_channels": 8}, {"dropout": 0.1},
    {"down_block_types": ["SimpleCrossAttnDownBlock2D"] * 4}, {"downsample_padding": 2}, {"transformer_layers_per_block": [[1, 2]] * 4},
    {"attention_head_dim": None}, {"attention_head_dim": [None, 4, 4, 4]}, {"norm_num_groups": None}, {"cross_attention_dim": None}, {"act_fn": None},
    {"num_attention_heads": 2}, {"norm_num_groups": 3}, {"attention_head_dim": 5}, {"flip_sin_to_cos": None}, {"layers_per_block": [1, 2]})]
REFUSED += [(PLAIN, change) for change in (
    {"downsample_type": "resnet"}, {"upsample_type": "resnet"}, {"time_embedding_type": "learned"}, {"down_block_types": ["SkipDownBlock2D"] * 3},
    {"class_embed_type": "timestep"}, {"norm_num_groups": None}, {"layers_per_block": [1, 1, 1]}, {"attention_head_dim": [4, 4, 4]}, {"add_attention": None})]


def random_net(rng):
    """As NETS' entries, drawn. A norm has 16 values at least: of two or four it gives signs, and fp32 leaves three digits of such gradients,
    in diffusers as here."""
    levels, groups = rng.randint(1, 4), rng.choice([1, 2])
    heads = rng.choice([1, 2, 4])
    widths = [8 * rng.choice([1, 2, 3]) for _ in range(levels)]
    plain = rng.random() < 0.35
    kinds = ["", "Attn"] if plain else ["", "Attn", "CrossAttn"]
    down, up = ([rng.choice(kinds) + end for _ in range(levels)] for end in ("DownBlock2D", "UpBlock2D"))
    channels = rng.choice([1, 3, 4])
    cfg = {"_class_name": "UNet2DModel" if plain else "UNet2DConditionModel", "in_channels": channels, "out_channels": channels,
           "block_out_channels": widths, "norm_num_groups": groups, "attention_head_dim": heads, "layers_per_block": rng.randint(1, 3),
           "down_block_types": down, "up_block_types": up, "act_fn": rng.choice(["silu", "swish", "mish", "gelu", "relu"]),
           "resnet_time_scale_shift": rng.choice(["default", "scale_shift"]), "norm_eps": rng.choice([1e-5, 1e-6]),
           "flip_sin_to_cos": rng.random() < 0.5, "freq_shift": rng.choice([0, 1]), "downsample_padding": rng.choice([0, 1]),
           "center_input_sample": rng.random() < 0.2, "mid_block_scale_factor": rng.choice([1, 1.41])}
    if rng.random() < 0.5:
        cfg["num_class_embeds"] = rng.randint(1, 20)
    if rng.random() < 0.2:
        cfg["time_embedding_dim"] = rng.choice([10, 24, 33])
    if plain:
        cfg["add_attention"] = rng.random() < 0.7
        cfg["attn_norm_num_groups"] = rng.choice([None, 2])
        cfg["attention_head_dim"] = rng.choice([None, heads, heads])
        cfg["mid_block_type"] = rng.choice([None, "UNetMidBlock2D", "UNetMidBlock2D"])
    else:
        cfg |= {"cross_attention_dim": rng.choice([5, 16]), "mid_block_type": rng.choice(["UNetMidBlock2D", "UNetMidBlock2DCrossAttn"]),
                "use_linear_projection": rng.random() < 0.5, "transformer_layers_per_block": rng.randint(1, 2), "upcast_attention": rng.random() < 0.3}
        for key, most in (("attention_head_dim", [1, 2, 4, 8]), ("layers_per_block", [1, 2, 3]), ("transformer_layers_per_block", [1, 2])):
            if rng.random() < 0.4:
                cfg[key] = [rng.choice(most) for _ in range(levels)]
        if rng.random() < 0.2:
            cfg["mid_block_type"] = None
    whole = 2 ** (levels - 1)
    attends_up = any(name == "AttnUpBlock2D" for name in up)  # diffusers cannot do other sizes with them
    size = tuple(whole * rng.randint(2, 3) if plain or attends_up else rng.randint(2 * whole, 3 * whole) for _ in range(2))
    return cfg, size, rng.random() < 0.5


def make_net(cfg):
    return CLASSES[cfg["_class_name"]](**{key: tuple(value) if isinstance(value, list) else value for key, value in cfg.items() if key[0] != "_"}).eval()


def takes_text(cfg):
    blocks = [*cfg["down_block_types"], *cfg["up_block_types"]]
    plain = cfg["_class_name"] == "UNet2DModel"
    return not plain and ("CrossAttn" in (cfg.get("mid_block_type", "UNetMidBlock2DCrossAttn") or "") or any("CrossAttn" in block for block in blocks))


def forward(net, x, t, given):
    """`given`: "class", "text", "text_mask" as far as there are any."""
    if isinstance(net, UNet2DModel):
        return net(x, t, class_labels=given.get("class")).sample
    return net(x, t, given.get("text"), class_labels=given.get("class"), encoder_attention_mask=given.get("text_mask")).sample


def noised(x0, noise, t):
    """DDPM's default: betas from 0.0001 to 0.02 in 1000 steps."""
    return DDPMScheduler().add_noise(x0, noise, t)
