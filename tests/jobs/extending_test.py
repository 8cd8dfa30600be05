#!/usr/bin/env python3
"""Networks, noise schedules and datasets of one's own, outside the tree: microdit is installed, the examples are built against that
with find_package(microdit), and their programs train, go on, paint and measure."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402

BUILD = programs.BIN.parent
WORK = BUILD / "extending_test"  # always the same place, so that ccache knows the objects again
PREFIX, PROJECT = WORK / "installation", WORK / "project"
EXTENSIBLE = ["train", "generate", "evaluate", "score", "explain", "convert", "doctor", "probe"]
QUICK = ["batch_size=8", "threads_per_rank=1", "sampling.every_steps=0", "checkpoint.every_minutes=0", "model.width=16", "model.depth=1",
         f"data=[{{dataset: {programs.DATASET}}}]"]


def cmake(*words, expect=0):
    own = programs.SOURCE / ".venv/bin/cmake"
    done = subprocess.run([own if own.exists() else "cmake", *map(str, words)], capture_output=True, text=True, timeout=900)
    programs.check((done.returncode == 0) == (expect == 0), f"cmake {words}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout + done.stderr


def configure(source, build, *words, prefix=PREFIX, expect=0):
    ccache = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    return cmake("-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", *ccache, *words, expect=expect)


class Extending(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        programs.need_data()
        if not (BUILD / "cmake_install.cmake").exists():
            programs.skip(f"{BUILD} is no build folder of CMake")
        if missing := [name for name in [*EXTENSIBLE, "precompute"] if not (BUILD / "bin" / name).exists()]:
            programs.skip(f"{missing} are not built")
        shutil.rmtree(WORK, ignore_errors=True)
        cmake("--install", BUILD, "--component", "runtime", "--prefix", PREFIX)
        programs.check(not (PREFIX / "include").exists() and not (PREFIX / "lib/cmake").exists(), "the component runtime has no headers")
        cmake("--install", BUILD, "--component", "dev", "--prefix", PREFIX)
        shutil.copytree(PREFIX / "examples", PROJECT)
        configure(PROJECT, PROJECT / "build")
        cmake("--build", PROJECT / "build", "-j2")
        cls.bin = PROJECT / "build/bin"
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_extending_")
        cls.root = pathlib.Path(cls.scratch.name)
        cls.run_own("train", "--config", "denoiser/convnet.yaml", *QUICK, f"runs={cls.root}", "name=whole", "steps=6")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()
        shutil.rmtree(WORK)

    @classmethod
    def run_own(cls, name, *words, folder=None, **options):
        """With the programs of the project (or of `folder`), from the project's folder."""
        before, programs.BIN = programs.BIN, folder or cls.bin
        try:
            return programs.run(name, *words, cwd=PROJECT, **options)
        finally:
            programs.BIN = before

    def train(self, name, *words, **options):
        return self.run_own("train", "--config", "denoiser/convnet.yaml", *QUICK, f"runs={self.root}", f"name={name}", *words, **options)

    def test_a_network(self):
        """Resumed bit by bit, painted, measured; the run says what it was trained by."""
        self.train("parts", "steps=3")
        self.assertIn("model.width", self.train("parts", "steps=6", "model.width=18", expect=programs.USER_MISTAKE))
        self.train("parts", "steps=6")
        last = [programs.read_checkpoint(programs.checkpoint(self.root / run, 6)) for run in ("whole", "parts")]
        self.assertEqual(last[0], last[1])
        self.assertIn("blocks.0.modulation.weight", " ".join(last[0]))
        facts = json.loads((self.root / "whole/facts.json").read_text())
        self.assertEqual({key: facts["model"][key] for key in ("kind", "width", "depth", "in_channels", "caption_channels")},
                         {"kind": "convnet", "width": 16, "depth": 1, "in_channels": 4, "caption_channels": 384})
        told = " ".join(path.read_text() for path in (self.root / "whole").glob("*.json*"))
        self.assertRegex(told, r"with convnet\.cpp [0-9a-f]{12}, tanh\.cpp [0-9a-f]{12}", "what was built in is kept with the run")
        self.run_own("generate", "--run", self.root / "whole", "--prompt", "pizza", "steps=2", "num_images=1", "guidance=3", f"out={self.root}/painted")
        self.assertTrue((self.root / "painted/000000.png").exists())
        self.run_own("evaluate", "--run", self.root / "whole", "prompts=2", "candidates=8", "loss_samples=8", "steps=2")
        self.assertTrue((self.root / "whole/metrics.json").exists())
        self.run_own("convert", "--input", self.root / "whole", "--output", self.root / "whole.safetensors")
        self.assertIn("out.weight", programs.read_safetensors(self.root / "whole.safetensors"))

    def test_programs_without_it_say_so(self):
        """The installed ones, which know ours alone."""
        for folder in (PREFIX / "bin", BUILD / "bin"):
            said = self.run_own("generate", "--run", self.root / "whole", "--prompt", "pizza", folder=folder, expect=programs.USER_MISTAKE)
            self.assertRegex(said, r'kind: .*convnet.*microdit, class_dit, unet')

    def test_what_lives_keep(self):
        """A job keeps a copy of its program beside a link to the libraries (src/lives)."""
        kept = self.root / "life/1"
        (kept / "bin").mkdir(parents=True)
        shutil.copy(self.bin / "train", kept / "bin/train")
        (kept / "lib").symlink_to(PROJECT / "build/lib")
        self.assertIn("convnet.cpp", self.run_own("train", "--version", folder=kept / "bin"))
        found = subprocess.run(["ldd", kept / "bin/train"], capture_output=True, text=True).stdout
        self.assertRegex(found, rf"libtorch_cpu\.so => {kept}/bin/\.\./lib/")

    def test_the_folder_is_an_installation(self):
        """Job scripts, configs and the programs that stayed as they were."""
        done = subprocess.run(["bash", "slurm/pretrain_256.sbatch", "--config", "configs/train/emoji_unet.yaml", "--print-config"],
                              cwd=PROJECT / "build", capture_output=True, text=True, env=programs.environment(), timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({path.name for path in (PREFIX / "bin").iterdir()}, {path.name for path in self.bin.iterdir()})

    def test_keys(self):
        """Strict, checked, printed and explained like ours."""
        words = ["--config", "denoiser/convnet.yaml", "--print-config"]
        printed = self.run_own("train", *words, "model.width=32")
        self.assertRegex(printed, r"kind: convnet .*\n(.*\n)*  width: 32 ")
        for word, said in (("model.widht=8", "did you mean '(model.)?width'"), ("model.width=7.5", "whole number"), ("model.width=2", "out of range"),
                           ("model.width=9", "must be even"), ("model.head_dim=8", "unknown key"), ("model.kind=convnets", "microdit, class_dit, unet, convnet"),
                           ("objective.path=tan", "tanh"), ("objective.steepness=2", "unknown key")):
            self.assertRegex(self.run_own("train", *words, word, expect=programs.USER_MISTAKE), said)
        help_text = self.run_own("train", "--help")
        self.assertRegex(help_text, r"kind: convnet\n(.*\n)*?width .*= 64 .*channels of every block")
        self.assertRegex(help_text, r"path: tanh\nsteepness .*= 3\.0 ")

    def test_a_noise_schedule(self):
        """It leads from noise to data whose best network is known, with every prediction and rule; and it is trained on."""
        said = self.run_own("probe", "gaussian", "objective.path=tanh", "objective.steepness=4")
        self.assertEqual(len(re.findall(r"^tanh .*mean", said, re.M)), 3 * 7)
        self.assertNotIn("OFF", said)
        self.train("tanh", "steps=2", "objective={path: tanh, steepness: 4, prediction: v}")
        facts = json.loads((self.root / "tanh/facts.json").read_text())
        self.assertEqual((facts["objective"]["path"], facts["objective"]["steepness"]), ("tanh", 4))
        for grid in ("linspace", "karras", "trailing"):
            self.run_own("generate", "--run", self.root / "tanh", "--prompt", "pizza", "steps=2", "num_images=1", f"grid={grid}", f"out={self.root}/{grid}")
            self.assertTrue((self.root / grid / "000000.png").exists())
        shapes = self.run_own("train", "--config", "schedule/tanh.yaml", "--print-config")
        self.assertRegex(shapes, r"path: tanh .*\n(.*\n)*?  steepness: 4")

    def test_a_dataset(self):
        """One YAML and a folder of pictures, by the installed programs; its recipe is the installation's."""
        oracle = programs.SOURCE / ".venv-oracles/bin/python"
        pictures, data = self.root / "pictures", self.root / "data"
        subprocess.run([oracle if oracle.exists() else sys.executable, PROJECT / "dataset/make_shapes.py", pictures, "40"], check=True)
        (data / "weights").mkdir(parents=True)
        for weights in (programs.DATA / "weights").iterdir():
            (data / "weights" / weights.name).symlink_to(weights)
        environment = programs.environment(data, MICRODIT_SHAPES=pictures)
        for stage in ("download", "clean", "precompute"):
            log = self.run_own(stage, "--config", "dataset/shapes.yaml", folder=PREFIX / "bin", env=environment)
            self.assertIn("is complete", log)
        log = self.train("shapes", "steps=2", "data=[{dataset: shapes}]", "captions=[]", env=environment)
        self.assertIn("done: 2 steps", log)
        self.run_own("evaluate", "--run", self.root / "shapes", "prompts=1", "candidates=4", "loss_samples=2", "steps=2", env=environment)

    def test_two_of_one_name(self):
        project = WORK / "twice"
        project.mkdir()
        lines = (PROJECT / "CMakeLists.txt").read_text().replace("denoiser/", f"{PROJECT}/denoiser/").replace("schedule/", f"{PROJECT}/schedule/")
        for name in ("own::convnet", "own::tanh_schedule"):
            lines = lines.replace(f" {name}", f" {name} {name}")
        (project / "CMakeLists.txt").write_text(lines)
        configure(project, project / "build")
        cmake("--build", project / "build", "--target", "microdit_train")
        log = self.run_own("train", "--config", "denoiser/convnet.yaml", "--print-config", folder=project / "build/bin", expect=programs.USER_MISTAKE)
        for said in ('two networks called "convnet"', 'two noise schedules called "tanh"'):
            self.assertIn(said, log)
        self.run_own("train", "--help", folder=project / "build/bin")

    def test_what_cmake_says(self):
        project, torch = WORK / "refused", WORK / "other_torch"
        project.mkdir()
        (project / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(refused LANGUAGES CXX)\n"
                                                "find_package(microdit 0.1 REQUIRED)\nif(WORDS)\n  microdit_programs(${WORDS})\nendif()\n")
        for header in ("include/torch/csrc/api/include/torch/torch.h", "include/torch/headeronly/version.h"):
            (torch / header).parent.mkdir(parents=True)
            (torch / header).write_text("#define TORCH_VERSION_MAJOR 1\n#define TORCH_VERSION_MINOR 0\n#define TORCH_VERSION_PATCH 0\n")
        said = configure(project, project / "build", f"-DTorch_DIR={torch}/share/cmake/Torch", expect=1)
        self.assertRegex(re.sub(r"\s+", " ", said), r"other_torch is 1\.0\.0, and microdit was built with \d+\.\d+\.\d+.*-DTorch_DIR=")
        said = configure(project, project / "build", "-DTorch_DIR=", "-DWORDS=SOURCES;a.cpp", expect=1)
        self.assertIn("sources and a function at least", re.sub(r"\s+", " ", said))
        said = configure(project, project / "build2", prefix=WORK / "nowhere", expect=1)
        self.assertIn("microditConfig.cmake", said)


if __name__ == "__main__":
    unittest.main()
