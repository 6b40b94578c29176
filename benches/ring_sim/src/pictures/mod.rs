//! Pictures of what was measured, as SVG: on a light ground of their own, so that they can be read on any page.

pub mod churn;
pub mod convergence;
pub mod path_length;
pub mod small_ring;

use std::array::IntoIter;

use plotters::coord::CoordTranslate;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use crate::lab::Lab;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

const GROUND: RGBColor = RGBColor(252, 252, 250);
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(222, 224, 228);
/// Told apart also by those who do not see all colours (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(110, 110, 110),
];
const SIZE: (u32, u32) = (760, 460);

/// Draws one into the folder, if pictures were asked for.
fn picture(lab: &Lab, name: &str, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) {
    let Some(folder) = &lab.pictures else { return };
    let file = folder.join(format!("{name}.svg"));
    let drawn = || {
        std::fs::create_dir_all(folder)?;
        let area = SVGBackend::new(&file, size).into_drawing_area();
        area.fill(&GROUND)?;
        draw(&area)?;
        area.present()?;
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    match drawn() {
        Ok(()) => eprintln!("{}: drawn", file.display()),
        Err(error) => {
            // Whoever asked for pictures is told, and not only at the end of a long run.
            eprintln!("{}: {error}", file.display());
            std::process::exit(2);
        }
    }
}

fn small() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&INK)
}

fn title() -> TextStyle<'static> {
    ("sans-serif", 17).into_font().color(&INK)
}

/// What a dashed line looks like in a legend.
fn dashes((x, y): (i32, i32), colour: RGBColor) -> DashedPathElement<IntoIter<(i32, i32), 2>, i32> {
    DashedPathElement::new([(x, y), (x + 24, y)], 5, 4, colour.stroke_width(2))
}

fn legend<'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, C>,
    position: SeriesLabelPosition,
) -> Drawn {
    chart
        .configure_series_labels()
        .position(position)
        .margin(12)
        .legend_area_size(30)
        .label_font(small())
        .background_style(GROUND.mix(0.85))
        .border_style(FAINT)
        .draw()?;
    Ok(())
}
