//! The game: two paddles, a ball, whole numbers. Whoever plays the same moves sees the same game, frame by frame.

/// The court, in units of which a letter is 1024 wide.
const WIDTH: i64 = 60 << 10;
const HEIGHT: i64 = 16 << 10;
const PADDLE: i64 = 3 << 10;
/// What a paddle goes in a frame, and the ball's pace across.
const STRIDE: i64 = 256;
const PACE: i64 = 700;

/// What a player does in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Up,
    Stay,
    Down,
}

impl Move {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "u" => Some(Self::Up),
            "-" => Some(Self::Stay),
            "d" => Some(Self::Down),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "u",
            Self::Stay => "-",
            Self::Down => "d",
        }
    }

    fn stride(self) -> i64 {
        match self {
            Self::Up => -STRIDE,
            Self::Stay => 0,
            Self::Down => STRIDE,
        }
    }
}

/// Left or right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        if self == Self::Left { Self::Right } else { Self::Left }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Game {
    pub(crate) frame: u64,
    pub(crate) score: [u32; 2],
    paddles: [i64; 2],
    ball: (i64, i64),
    speed: (i64, i64),
    /// Where the luck of the next serve comes from: the same for both.
    luck: u64,
}

impl Game {
    pub(crate) fn new() -> Self {
        let mut game = Self {
            frame: 0,
            score: [0; 2],
            paddles: [HEIGHT / 2; 2],
            ball: (0, 0),
            speed: (0, 0),
            luck: 0x9e37_79b9_7f4a_7c15,
        };
        game.serve(Side::Left);
        game
    }

    /// One frame.
    pub(crate) fn step(&mut self, moves: [Move; 2]) {
        self.frame += 1;
        for (paddle, its) in self.paddles.iter_mut().zip(moves) {
            *paddle = (*paddle + its.stride()).clamp(PADDLE / 2, HEIGHT - PADDLE / 2);
        }
        self.ball = (self.ball.0 + self.speed.0, self.ball.1 + self.speed.1);
        if !(0..HEIGHT).contains(&self.ball.1) {
            self.speed.1 = -self.speed.1;
            self.ball.1 = self.ball.1.clamp(0, HEIGHT - 1);
        }
        match self.ball.0 {
            x if x < 0 => self.meet(Side::Left),
            x if x >= WIDTH => self.meet(Side::Right),
            _ => {}
        }
    }

    /// What a player who looks at the ball would do; not always in time.
    pub(crate) fn bot(&self, side: Side) -> Move {
        let comes = (self.speed.0 < 0) == (side == Side::Left);
        let aim = if comes { self.ball.1 } else { HEIGHT / 2 };
        match aim - self.paddles[side as usize] {
            far if far < -STRIDE => Move::Up,
            far if far > STRIDE => Move::Down,
            _ => Move::Stay,
        }
    }

    /// A number that two games have in common only if they are the same (FNV-1a).
    pub(crate) fn digest(&self) -> u64 {
        let [left, right] = self.paddles;
        let numbers = [left, right, self.ball.0, self.ball.1, self.speed.0, self.speed.1];
        let score = self.score.iter().flat_map(|score| score.to_le_bytes());
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).chain(score);
        bytes
            .chain(self.frame.to_le_bytes())
            .chain(self.luck.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    /// The court in one line, seen from above.
    pub(crate) fn picture(&self) -> String {
        let column = |x: i64| usize::try_from(x >> 10).unwrap_or(0);
        let ball = column(self.ball.0.clamp(0, WIDTH - 1));
        let court: String = (0..column(WIDTH)).map(|x| if x == ball { 'o' } else { '.' }).collect();
        format!("{} |{court}| {}", self.score[0], self.score[1])
    }

    fn meet(&mut self, side: Side) {
        let off = self.ball.1 - self.paddles[side as usize];
        if off.abs() > PADDLE / 2 {
            self.score[side.other() as usize] += 1;
            return self.serve(side.other());
        }
        // The further from the middle of the paddle, the steeper.
        self.speed = (-self.speed.0, self.speed.1 + off / 8);
        self.ball.0 = self.ball.0.clamp(0, WIDTH - 1);
    }

    fn serve(&mut self, to: Side) {
        self.luck ^= self.luck << 13;
        self.luck ^= self.luck >> 7;
        self.luck ^= self.luck << 17;
        let steep = i64::try_from(self.luck % 601).unwrap_or(0) - 300;
        self.ball = (WIDTH / 2, HEIGHT / 2);
        self.speed = (if to == Side::Left { -PACE } else { PACE }, steep);
    }
}
