// Cairo's surface, Pango's layouts.
#include "image/canvas.h"

#include <pango/pangocairo.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/utf8.h"

namespace microdit::image {
namespace {

constexpr std::size_t kMostText = 4096;       // bytes that are laid out
constexpr std::int64_t kMostPixels = 32'767;  // of a side: Cairo's limit

template <class T, void (*release)(T*)>
struct Releases {
  void operator()(T* held) const { release(held); }
};
void unref(PangoLayout* layout) {
  g_object_unref(layout);
}
using Layout = std::unique_ptr<PangoLayout, Releases<PangoLayout, unref>>;
using Context = std::unique_ptr<cairo_t, Releases<cairo_t, cairo_destroy>>;
using CairoSurface = std::unique_ptr<cairo_surface_t, Releases<cairo_surface_t, cairo_surface_destroy>>;
using Font =
    std::unique_ptr<PangoFontDescription, Releases<PangoFontDescription, pango_font_description_free>>;
using FontOptions =
    std::unique_ptr<cairo_font_options_t, Releases<cairo_font_options_t, cairo_font_options_destroy>>;

std::string drawable(const std::string& text) {
  std::string out = text;
  if (out.size() > kMostText) {
    std::size_t end = kMostText;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xc0) == 0x80) --end;
    out.resize(end);
  }
  out = core::with_valid_utf8(out);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return out;
}

Layout layout_of(cairo_t* cairo, const std::string& text, const TextStyle& style) {
  Layout layout(pango_cairo_create_layout(cairo));
  // Glyphs at whole pixels, in greys: a picture does not depend on a display's settings.
  const FontOptions options(cairo_font_options_create());
  cairo_font_options_set_antialias(options.get(), CAIRO_ANTIALIAS_GRAY);
  cairo_font_options_set_hint_style(options.get(), CAIRO_HINT_STYLE_SLIGHT);
  cairo_font_options_set_hint_metrics(options.get(), CAIRO_HINT_METRICS_ON);
  pango_cairo_context_set_font_options(pango_layout_get_context(layout.get()), options.get());
  pango_layout_context_changed(layout.get());
  const Font font(pango_font_description_from_string("Sans"));
  pango_font_description_set_absolute_size(font.get(), style.size * PANGO_SCALE);
  if (style.bold) pango_font_description_set_weight(font.get(), PANGO_WEIGHT_BOLD);
  pango_layout_set_font_description(layout.get(), font.get());
  if (style.width > 0) {
    pango_layout_set_width(layout.get(), static_cast<int>(style.width) * PANGO_SCALE);
    pango_layout_set_height(layout.get(), -static_cast<int>(std::max<std::int64_t>(style.lines, 1)));
    pango_layout_set_ellipsize(layout.get(), PANGO_ELLIPSIZE_END);
    pango_layout_set_wrap(layout.get(), PANGO_WRAP_WORD_CHAR);
  }
  if (style.centred) pango_layout_set_alignment(layout.get(), PANGO_ALIGN_CENTER);
  pango_layout_set_text(layout.get(), drawable(text).c_str(), -1);
  return layout;
}

Size size_of(const Layout& layout, const std::string& text) {
  if (text.empty()) return {};
  int width = 0, height = 0;
  pango_layout_get_pixel_size(layout.get(), &width, &height);
  return {width, height};
}

void set_color(cairo_t* cairo, Color color) {
  cairo_set_source_rgb(cairo, color.red / 255.0, color.green / 255.0, color.blue / 255.0);
}

}  // namespace

struct Canvas::Surface {
  Surface(std::int64_t h, std::int64_t w, std::int64_t scale)
      : height(h * scale),
        width(w * scale),
        scale(scale),
        surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width),
                                           static_cast<int>(height))),
        cairo(cairo_create(surface.get())) {
    cairo_scale(cairo.get(), static_cast<double>(scale), static_cast<double>(scale));
    core::check(cairo_status(cairo.get()) == CAIRO_STATUS_SUCCESS, "a canvas of {} x {} pixels: {}", w, h,
                cairo_status_to_string(cairo_status(cairo.get())));
  }
  /// One 32-bit word per pixel, 0x00RRGGBB.
  std::uint32_t* row(std::int64_t y) const {
    return reinterpret_cast<std::uint32_t*>(cairo_image_surface_get_data(surface.get()) +
                                            y * cairo_image_surface_get_stride(surface.get()));
  }
  std::int64_t height, width, scale;  ///< pixels; pixels per unit
  CairoSurface surface;
  Context cairo;
};

Size text_size(const std::string& text, const TextStyle& style) {
  const CairoSurface none(cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1));
  const Context cairo(cairo_create(none.get()));
  const Size size = size_of(layout_of(cairo.get(), text, style), text);
  return style.upward ? Size{size.height, size.width} : size;
}

Canvas::Canvas(std::int64_t height, std::int64_t width, Color ground, std::int64_t scale) {
  core::check(height > 0 && width > 0 && scale > 0, "a canvas of {} x {} pixels, {} fold", width, height,
              scale);
  if (height > kMostPixels / scale || width > kMostPixels / scale)
    core::user_error("a picture of {} x {} pixels cannot be drawn, at most {} a side: ask for fewer at once",
                     width * scale, height * scale, kMostPixels);
  surface_ = std::make_unique<Surface>(height, width, scale);
  fill({0, 0, width, height}, ground);
}

Canvas::~Canvas() = default;

std::int64_t Canvas::scale() const {
  return surface_->scale;
}

void Canvas::fill(const Box& box, Color color) {
  cairo_t* cairo = surface_->cairo.get();
  set_color(cairo, color);
  cairo_rectangle(cairo, static_cast<double>(box.x), static_cast<double>(box.y),
                  static_cast<double>(box.width), static_cast<double>(box.height));
  cairo_fill(cairo);
}

void Canvas::line(const std::vector<Point>& points, Color color, double width, const Box& within) {
  if (points.empty()) return;
  cairo_t* cairo = surface_->cairo.get();
  cairo_save(cairo);
  cairo_rectangle(cairo, static_cast<double>(within.x), static_cast<double>(within.y),
                  static_cast<double>(within.width), static_cast<double>(within.height));
  cairo_clip(cairo);
  set_color(cairo, color);
  cairo_set_line_width(cairo, width);
  cairo_set_line_cap(cairo, CAIRO_LINE_CAP_ROUND);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  // Cairo counts in 24 bits before the point: far points are moved to where nothing of the line is seen either.
  const auto near = [](double value) { return std::clamp(value, -1e6, 1e6); };
  cairo_move_to(cairo, near(points[0].x), near(points[0].y));
  for (const Point& point : points) cairo_line_to(cairo, near(point.x), near(point.y));
  cairo_stroke(cairo);
  cairo_restore(cairo);
}

void Canvas::paste(const Image& picture, std::int64_t x, std::int64_t y) {
  cairo_surface_flush(surface_->surface.get());
  x *= surface_->scale;
  y *= surface_->scale;
  const std::int64_t left = std::max<std::int64_t>(0, -x),
                     right = std::min(picture.width, surface_->width - x);
  for (std::int64_t v = std::max<std::int64_t>(0, -y); v < std::min(picture.height, surface_->height - y);
       ++v) {
    std::uint32_t* to = surface_->row(y + v);
    const std::uint8_t* from = picture.row(v);
    for (std::int64_t u = left; u < right; ++u)
      to[x + u] = static_cast<std::uint32_t>(from[3 * u]) << 16 |
                  static_cast<std::uint32_t>(from[3 * u + 1]) << 8 | from[3 * u + 2];
  }
  cairo_surface_mark_dirty(surface_->surface.get());
}

Size Canvas::text(std::int64_t x, std::int64_t y, const std::string& text, const TextStyle& style) {
  if (text.empty()) return {};
  cairo_t* cairo = surface_->cairo.get();
  cairo_save(cairo);
  set_color(cairo, style.color);
  cairo_move_to(cairo, static_cast<double>(x), static_cast<double>(y));
  if (style.upward) cairo_rotate(cairo, -std::acos(0.0));
  const Layout layout = layout_of(cairo, text, style);
  pango_cairo_show_layout(cairo, layout.get());
  cairo_restore(cairo);
  const Size size = size_of(layout, text);
  return style.upward ? Size{size.height, size.width} : size;
}

Image Canvas::image() const {
  cairo_surface_flush(surface_->surface.get());
  Image out(surface_->height, surface_->width);
  for (std::int64_t y = 0; y < out.height; ++y) {
    const std::uint32_t* from = surface_->row(y);
    std::uint8_t* to = out.row(y);
    for (std::int64_t x = 0; x < out.width; ++x) {
      to[3 * x] = static_cast<std::uint8_t>(from[x] >> 16);
      to[3 * x + 1] = static_cast<std::uint8_t>(from[x] >> 8);
      to[3 * x + 2] = static_cast<std::uint8_t>(from[x]);
    }
  }
  return out;
}

}  // namespace microdit::image
