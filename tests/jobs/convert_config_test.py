#!/usr/bin/env python3
"""convert --input THEIRS.yaml: micro_diffusion's settings as ours. Its four phases give our presets but for what is listed; what has no equal is
refused by file, line and key; what is not known is named and left out. Live with the original's own files where MICRODIT_REFERENCE is."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

try:
    import yaml
except ImportError as missing:
    programs.skip(f"no {missing.name}")

LOADER = "micro_diffusion.datasets.latents_loader.build_streaming_latents_dataloader"
EMA = {"_target_": "diffusion.algorithms.ema.EMA", "half_life": None, "update_interval": "1ba"}
COSINE = {"_target_": "composer.optim.CosineAnnealingWithWarmupScheduler", "t_warmup": "2500ba", "alpha_f": 0.33}
CONSTANT = {"_target_": "composer.optim.ConstantScheduler", "alpha": 1.0}
# preset -> what its phase says otherwise than the first: mask, steps, microbatch, rate, clip, schedule, size, EMA, start
PHASES = {
    "pretrain_256": (0.75, 250000, 256, 2.4e-4, 0.25, COSINE, 256, None, {}),
    "finetune_256": (0.0, 280000, 64, 8e-5, 0.25, CONSTANT, 256, None, {"load_path": "runs/pretrain_256", "load_ignore_keys": ["state/x"]}),
    "pretrain_512": (0.75, 50000, 32, 8e-5, 0.5, {"_target_": "composer.optim.ConstantWithWarmupScheduler", "t_warmup": "500ba", "alpha": 1.0}, 512,
                     EMA | {"smoothing": 0.99975, "ema_start": "25000ba"},
                     {"load_path": "runs/finetune_256", "load_weights_only": True, "load_strict_model_weights": False}),
    "finetune_512": (0.0, 55000, 16, 8e-5, 0.5, CONSTANT, 512, EMA | {"smoothing": 0.9975, "ema_start": "1000ba"}, {"load_path": "runs/pretrain_512"}),
}
# Where our presets say otherwise, on purpose: the data's form, a time beside the steps, one checkpoint more, eight of sixteen prompts, and that
# NaN is passed over.
OURS = {"name", "data", "checkpoint", "sampling", "max_skipped_steps"}


def theirs(phase):
    mask, steps, micro, rate, clip, schedule, size, ema, start = PHASES[phase]
    return {
        "exp_name": f"theirs_{phase}", "seed": 18,
        "algorithms": {"low_precision_layernorm": {"precision": "amp_bf16"}, "gradient_clipping": {"clipping_type": "norm", "clip_norm": clip}}
        | ({"ema": ema} if ema else {}),
        "model": {"_target_": "micro_diffusion.models.model.create_latent_diffusion", "vae_name": "stabilityai/stable-diffusion-xl-base-1.0",
                  "text_encoder_name": "openclip:hf-hub:apple/DFN5B-CLIP-ViT-H-14-378", "dit_arch": "MicroDiT_XL_2", "precomputed_latents": True,
                  "in_channels": 4, "pos_interp_scale": size / 256, "dtype": "bfloat16", "latent_res": size // 8,
                  "p_mean": -0.6 if size == 256 else 0, "p_std": 1.2 if size == 256 else 0.6, "train_mask_ratio": mask},
        "dataset": {"image_size": size, "train_batch_size": 2048, "eval_batch_size": 1024, "cap_drop_prob": 0.1,
                    "train": {"_target_": LOADER, "datadir": ["./datadir/a b/train/", "./datadir/b/"], "drop_last": True, "shuffle": True},
                    "eval": {"_target_": LOADER, "datadir": "./datadir/coco2014/"}},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": rate, "weight_decay": 0.1, "eps": 1.0e-8, "betas": [0.9, 0.999]},
        "scheduler": schedule,
        "logger": {"progress": {"_target_": "composer.loggers.TensorboardLogger"}},
        "callbacks": {"speed_monitor": {"_target_": "composer.callbacks.speed_monitor.SpeedMonitor", "window_size": 3},
                      "nan_catcher": {"_target_": "micro_diffusion.models.callbacks.NaNCatcher"},
                      "image_monitor": {"_target_": "micro_diffusion.models.callbacks.LogDiffusionImages", "guidance_scale": 5, "sampling_steps": 30,
                                        "seed": "${seed}", "prompts": ["a cat", 'a sign that says "yes": ${no}', "true"]}},
        "trainer": {"_target_": "composer.Trainer", "device": "gpu", "max_duration": f"{steps}ba", "eval_interval": "2500ba", "save_interval": "2500ba",
                    "save_num_checkpoints_to_keep": 1, "device_train_microbatch_size": micro, "run_name": "${exp_name}", "seed": "${seed}",
                    "save_folder": "./trained_models/${exp_name}/", "save_overwrite": True, "autoresume": False,
                    "fsdp_config": {"sharding_strategy": "SHARD_GRAD_OP"}} | start,
        "misc": {"compile": True}}


class ConvertConfig(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="microdit_config_")
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.input, self.output = self.root / "theirs.yaml", self.root / "ours.yaml"

    def convert(self, settings=None, *words, expect=0, **options):
        if settings is not None:
            self.input.write_text(yaml.safe_dump(settings, sort_keys=False, width=1000).replace('says "yes": ${no}', 'says "yes": $${no}'))
        return programs.run("convert", "--input", self.input, "--output", self.output, *words, expect=expect, **options)

    def resolved(self, config):
        done = subprocess.run(programs.command("train", "--config", config, "--print-config"), capture_output=True, text=True, cwd=SOURCE,
                              env=programs.environment(programs.DATA))
        self.assertEqual(done.returncode, 0, done.stderr)
        return yaml.safe_load(done.stdout)

    def differences(self, preset):
        ours, presets = self.resolved(self.output), self.resolved(SOURCE / f"configs/train/{preset}.yaml")
        return {key for key in ours | presets if ours.get(key) != presets.get(key)}, ours

    def test_the_four_phases_are_our_presets(self):
        for phase in PHASES:
            log = self.convert(theirs(phase), "overwrite=true")
            self.assertIn(" 0 not carried", log)
            different, ours = self.differences(phase)
            self.assertLessEqual(different, OURS, phase)
            self.assertEqual(ours["name"], f"theirs_{phase}")
            self.assertEqual([source["mds"] for source in ours["data"]], ["./datadir/a b/train/", "./datadir/b/"])
            self.assertTrue(ours["data"][0]["text_encoder"].endswith("weights/DFN5B-CLIP-ViT-H-14-378"))
            self.assertEqual(ours["sampling"]["prompts"], ["a cat", 'a sign that says "yes": $${no}', "true"])  # as --print-config writes it
            self.assertEqual((ours["sampling"]["guidance"], ours["sampling"]["steps"], ours["sampling"]["every_steps"]), (5, 30, 2500))
            self.assertEqual((ours["checkpoint"]["keep_last"], ours["max_skipped_steps"]), (1, 0))

    def test_their_own_files(self):
        reference = os.environ.get("MICRODIT_REFERENCE")
        if not reference:
            self.skipTest("needs MICRODIT_REFERENCE, a checkout of micro_diffusion")
        for phase in PHASES:
            kind, size = phase.split("_")
            self.input.write_bytes((pathlib.Path(reference) / f"configs/res_{size}_{kind}.yaml").read_bytes())
            log = self.convert(None, "overwrite=true")
            self.assertIn(" 0 not carried", log)
            different, ours = self.differences(phase)
            print(phase, sorted(different))
            self.assertLessEqual(different, OURS | {"init"}, phase)
            self.assertEqual(len(ours["sampling"]["prompts"]), 16)

    def test_what_has_no_equal_is_refused(self):
        def changed(path, value):
            settings = theirs("finetune_512")
            *sections, key = path.split(".")
            at = settings
            for section in sections:
                at = at[section]
            at[key] = value
            return settings
        for path, value, said in (("optimizer._target_", "torch.optim.SGD", "optimizer._target_: 'torch.optim.SGD'"),
                                  ("trainer.max_duration", "5000tok", "Composer's ba"), ("model.dit_arch", "MicroDiT_S_2", "MicroDiT_Tiny_2"),
                                  ("algorithms.gradient_clipping.clipping_type", "value", "known: norm"), ("algorithms.ema.half_life", "100ba", "smoothing"),
                                  ("scheduler.alpha", 0.5, "multiply"), ("trainer.fsdp_config.sharding_strategy", "HYBRID", "SHARD_GRAD_OP"),
                                  ("model.vae_name", "other/vae", "data.N.codec"), ("optimizer.lr", 7.0, "optimizer.lr"),
                                  ("defaults", ["_self_"], "compose it first")):
            log = self.convert(changed(path, value), expect=programs.USER_MISTAKE)
            self.assertIn(said, log)
            self.assertFalse(self.output.exists(), path)
        self.assertIn("weights=ema has no effect", self.convert(theirs("pretrain_256"), "weights=ema", expect=programs.USER_MISTAKE))
        self.input.write_text("a: 1\n")
        self.assertIn("no model._target_", self.convert(expect=programs.USER_MISTAKE))
        self.output.write_text("mine")
        self.assertIn("overwrite=true", self.convert(theirs("pretrain_256"), expect=programs.USER_MISTAKE))
        self.assertEqual(self.output.read_text(), "mine")

    def test_every_strategy_of_fsdp(self):
        for strategy, checkpointing, expected in (("FULL_SHARD", True, ("full", "world", "none")), ("HYBRID_SHARD", False, ("full", "node", "none")),
                                                  ("_HYBRID_SHARD_ZERO2", True, ("grad_op", "node", "blocks")), ("NO_SHARD", False, ("none", "world", "none"))):
            settings = theirs("pretrain_256")
            settings["trainer"]["fsdp_config"] = {"sharding_strategy": strategy, "activation_checkpointing": checkpointing}
            self.assertIn(" 0 not carried", self.convert(settings, "overwrite=true"))
            ours = self.resolved(self.output)
            self.assertEqual((ours["sharding"], ours["scope"], ours["recompute"]), expected, strategy)

    def test_what_is_not_known_is_named(self):
        settings = theirs("pretrain_256")
        settings["trainer"]["grad_accum"] = 'two\nlines'
        settings["misc"]["flops"] = 3
        log = self.convert(settings)
        self.assertIn("trainer.grad_accum", log)
        self.assertIn(" 2 not carried", log)
        self.assertIn('# NOT carried: trainer.grad_accum: "two', self.output.read_text())
        self.resolved(self.output)


if __name__ == "__main__":
    unittest.main()
