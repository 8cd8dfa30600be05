// The texts of a folder for diffusers: README.md and pipeline.py.
#include "convert_diffusers.h"

namespace microdit::jobs {
namespace {

constexpr const char* kPipeline =
    R"(# The sampling loop of microdit as a pipeline of diffusers: the same pictures, to rounding, of the same start noise.
import inspect

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DModel


class MicroditPipeline(DiffusionPipeline):
    _optional_components = ["vae", "text_encoder", "tokenizer"]

    def __init__(self, unet, scheduler, vae=None, text_encoder=None, tokenizer=None, text_length=0, zero_pads=False, text_mask=False,
                 null_class=None, eta=None, use_clipped_model_output=None):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer)
        self.register_to_config(text_length=text_length, zero_pads=zero_pads, text_mask=text_mask, null_class=null_class, eta=eta,
                                use_clipped_model_output=use_clipped_model_output)

    def encode_prompt(self, prompts):
        """Text rows [B, L, D] and which of them are tokens [B, L]."""
        tokens = self.tokenizer(prompts, padding="max_length", max_length=self.config.text_length, truncation=True, return_tensors="pt")
        tokens = tokens.to(self.unet.device)
        seen = tokens.attention_mask
        is_clip = self.text_encoder.config.model_type.startswith("clip")
        rows = self.text_encoder(tokens.input_ids, attention_mask=None if is_clip else seen)[0]
        rows = rows.to(torch.float16).to(self.unet.dtype)  # as the rows that it was trained on were stored
        return (rows * seen.unsqueeze(-1) if self.config.zero_pads else rows), seen

    def predict(self, x, t, rows, seen, classes):
        if isinstance(self.unet, UNet2DModel):
            return self.unet(x, t, class_labels=classes).sample
        mask = seen if self.config.text_mask else None
        return self.unet(x, t, encoder_hidden_states=rows, class_labels=classes, encoder_attention_mask=mask).sample

    def decode(self, latents):
        """Pictures in [-1, 1]."""
        if self.vae is None:
            return latents
        c = self.vae.config
        mean, std = getattr(c, "latents_mean", None), getattr(c, "latents_std", None)
        latents = latents / c.scaling_factor
        if mean is not None and std is not None:
            mean, std = (torch.tensor(v, dtype=latents.dtype, device=latents.device).view(1, -1, 1, 1) for v in (mean, std))
            latents = latents * std + mean
        else:
            latents = latents + (getattr(c, "shift_factor", None) or 0)
        return self.vae.decode(latents).sample

    @torch.no_grad()
    def __call__(self, prompt=None, class_labels=None, negative_prompt=None, num_inference_steps=30, guidance_scale=1.0, guidance_rescale=0.0,
                 latents=None, prompt_embeds=None, prompt_mask=None, batch_size=1, generator=None, output_type="pil"):
        """`latents`: start noise of deviation 1 [B, C, h, w] (drawn by `generator` without); output_type: pil, pt ([B, 3, H, W] in
        [0, 1]) or latent."""
        device, dtype = self.unet.device, self.unet.dtype
        rows, seen, classes = prompt_embeds, prompt_mask, None
        if prompt is not None:
            rows, seen = self.encode_prompt([prompt] if isinstance(prompt, str) else list(prompt))
        if class_labels is not None:
            classes = torch.as_tensor(class_labels, device=device).reshape(-1)
        elif self.config.null_class is not None:
            classes = torch.full((batch_size if rows is None else len(rows),), self.config.null_class, device=device)
        count = len(rows) if rows is not None else len(classes) if classes is not None else batch_size if latents is None else len(latents)
        if rows is not None:
            rows = rows.to(device, dtype)
            seen = torch.ones(rows.shape[:2], device=device) if seen is None else seen.to(device)
        null_rows, null_seen, null_classes = rows, seen, classes
        if rows is not None:
            null_rows, null_seen = torch.zeros_like(rows), torch.ones_like(seen)
            if negative_prompt is not None:
                null_rows, null_seen = self.encode_prompt([negative_prompt] * count)
        if classes is not None and self.config.null_class is not None:
            null_classes = torch.full_like(classes, self.config.null_class)
        if latents is None:
            size = self.unet.config.sample_size
            latents = torch.randn((count, self.unet.config.in_channels, size, size), generator=generator, dtype=dtype).to(device)
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)
        is_edm = type(self.scheduler).__name__.startswith("EDM")
        x = latents.to(device, dtype) * (self.scheduler.sigmas[0] if is_edm else getattr(self.scheduler, "init_noise_sigma", 1.0))
        keys = {"eta": self.config.eta, "use_clipped_model_output": self.config.use_clipped_model_output, "generator": generator}
        known = inspect.signature(self.scheduler.step).parameters
        keys = {key: value for key, value in keys.items() if value is not None and key in known}
        for t in self.progress_bar(self.scheduler.timesteps):
            scaled = self.scheduler.scale_model_input(x, t) if hasattr(self.scheduler, "scale_model_input") else x
            prediction = self.predict(scaled, t, rows, seen, classes)
            if guidance_scale != 1:
                null = self.predict(scaled, t, null_rows, null_seen, null_classes)
                guided = null + guidance_scale * (prediction - null)
                if guidance_rescale > 0:
                    factor = prediction.std((1, 2, 3), keepdim=True) / guided.std((1, 2, 3), keepdim=True)
                    guided = guided * (guidance_rescale * factor + 1 - guidance_rescale)
                prediction = guided
            x = self.scheduler.step(prediction, t, x, **keys).prev_sample
        if output_type == "latent":
            return ImagePipelineOutput(images=x)
        pictures = (self.decode(x) / 2 + 0.5).clamp(0, 1)
        if output_type == "pil":
            pictures = self.numpy_to_pil(pictures.permute(0, 2, 3, 1).float().cpu().numpy())
        return ImagePipelineOutput(images=pictures)
)";

/// The arguments of the call that paints as `generate` does.
std::string call_of(const DiffusersFolder& f, const eval::TrainedRun& run) {
  std::string words;
  if (f.pipeline == "StableDiffusionPipeline")
    words = "prompt_embeds=rows, negative_prompt_embeds=torch.zeros_like(rows), ";
  else if (f.takes_text)
    words = f.has_text_encoder ? "\"a red heart\", " : "prompt_embeds=rows, ";
  if (f.takes_classes) words += "class_labels=[0], ";
  words += fmt::format("num_inference_steps={}", run.sampler.steps);
  if (f.is_own() || f.pipeline == "StableDiffusionPipeline")
    words += fmt::format(", guidance_scale={}", run.sampler.guidance);
  if (run.sampler.guidance_rescale > 0)
    words += fmt::format(", guidance_rescale={}", run.sampler.guidance_rescale);
  if (f.pipeline == "DDIMPipeline" || f.pipeline == "StableDiffusionPipeline")
    if (run.sampler.eta > 0) words += fmt::format(", eta={}", run.sampler.eta);
  if (f.pipeline == "DDIMPipeline" && run.sampler.clip_x0 > 0) words += ", use_clipped_model_output=True";
  return words;
}

}  // namespace

std::string diffusers_pipeline() {
  return kPipeline;
}

std::string diffusers_readme(const DiffusersFolder& f, const eval::TrainedRun& run) {
  std::string text = fmt::format(
      "---\nlibrary_name: diffusers\n---\n# {}\n\nA U-Net that microdit trained: step {}, {} weights, "
      "pictures of {} px. "
      "For diffusers 0.42 and newer.\n\n"
      "```python\nimport torch\nfrom diffusers import DiffusionPipeline\n\npipe = "
      "DiffusionPipeline.from_pretrained(\"FOLDER\"{})\n",
      f.name, f.step, f.weights == "ema" ? "averaged" : "raw", run.facts.size,
      f.is_own() ? ", trust_remote_code=True" : "");
  if (f.pipeline == "StableDiffusionPipeline")
    text += fmt::format(
        "ids = pipe.tokenizer([\"a red heart\"], padding=\"max_length\", max_length={}, truncation=True, "
        "return_tensors=\"pt\").input_ids\n"
        "rows = pipe.text_encoder(ids)[0].detach()\n",
        run.facts.text_length);
  text += fmt::format("pipe({}).images[0].save(\"picture.png\")\n```\n\n", call_of(f, run));
  if (f.is_own())
    text +=
        "No pipeline of diffusers paints as this network was trained to; `pipeline.py` is one that does "
        "(read it "
        "first: `trust_remote_code` runs it). The parts load alone, too: "
        "`UNet2DConditionModel.from_pretrained(\"FOLDER\", "
        "subfolder=\"unet\")` and so on.\n";
  if (f.pipeline == "StableDiffusionPipeline")
    text +=
        "It was trained to be guided away from rows of zeros, not from the empty prompt: hence "
        "`negative_prompt_embeds`.\n";
  if (f.takes_text && !f.has_text_encoder)
    text += fmt::format(
        "Its text encoder ({}) is none of transformers': `rows` are its rows [B, {}, {}] of the prompts.\n",
        run.facts.text_encoder.kind, run.facts.text_length, run.facts.text_width);
  text +=
      "\nThe same picture as `generate` paints: `generate ... save_latents=true` writes the start noise "
      "(`unit`) and the text "
      "rows (`text`) of each to latents.safetensors";
  text += f.pipeline.starts_with("DD")
              ? "; this pipeline takes no noise, but the loop around `pipe.scheduler.step` does.\n"
              : ": `latents=`, `prompt_embeds=`.\n";
  return text;
}

}  // namespace microdit::jobs
