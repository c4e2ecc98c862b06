//! Words → tree. One function per rule of the grammar, from the loosest to the tightest.

use super::token::{Token, token};
use super::{
    CONDITIONS_MAX, DEPTH_MAX, Expression, LENGTH_MAX, NAMES_MAX, Node, Order, ParseError, Search, Value, compare,
    number,
};

pub(super) fn parse(text: &str) -> Result<Expression, ParseError> {
    if text.len() > LENGTH_MAX {
        let reason = format!("it has {} bytes, at most {LENGTH_MAX} are allowed", text.len());
        return Err(ParseError::new(text, 0, reason));
    }
    let mut parser = Parser { text, at: 0, next: None, nesting: 0, conditions: 0, names: Vec::new() };
    let whole = parser.or()?;
    let root = parser.condition(whole)?.node;
    let (after, start, _) = parser.peek()?;
    let ignored = (after != Token::End).then(|| text[start..].into());
    let mut names: Vec<(Box<str>, usize)> =
        parser.names.iter().enumerate().map(|(n, name)| ((*name).into(), n)).collect();
    names.sort();
    Ok(Expression { root, names, ignored })
}

/// A part of the tree, and how many levels it has.
struct Part {
    node: Node,
    depth: usize,
}

struct Parser<'a> {
    text: &'a str,
    /// Byte behind the last token that was taken.
    at: usize,
    /// The token there, once someone looked, and the bytes where it begins and ends.
    next: Option<(Token<'a>, usize, usize)>,
    /// Rules that are being read within one another.
    nesting: usize,
    conditions: usize,
    names: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Part, ParseError> {
        let first = self.and()?;
        self.chain(Token::Or, first, Parser::and, Node::Any)
    }

    fn and(&mut self) -> Result<Part, ParseError> {
        let first = self.equality()?;
        self.chain(Token::And, first, Parser::equality, Node::All)
    }

    /// `first { word operand }`, as one node.
    fn chain(
        &mut self,
        word: Token<'a>,
        first: Part,
        operand: fn(&mut Parser<'a>) -> Result<Part, ParseError>,
        node: fn(Vec<Node>) -> Node,
    ) -> Result<Part, ParseError> {
        if self.peek()?.0 != word {
            return Ok(first);
        }
        let first = self.condition(first)?;
        let (mut depth, mut nodes) = (first.depth, vec![first.node]);
        while self.take_if(word)? {
            let next = operand(self)?;
            let next = self.condition(next)?;
            depth = depth.max(next.depth);
            nodes.push(next.node);
        }
        self.part(node(nodes), depth)
    }

    fn equality(&mut self) -> Result<Part, ParseError> {
        let mut left = self.comparison()?;
        loop {
            match self.peek()?.0 {
                Token::Equal => {
                    self.take()?;
                    let right = self.comparison()?;
                    left = self.equal(left, right)?;
                }
                Token::NotEqual => {
                    self.take()?;
                    let right = self.comparison()?;
                    let equal = self.equal(left, right)?;
                    left = self.part(Node::Not(Box::new(equal.node)), equal.depth)?;
                }
                Token::Is => {
                    self.take()?;
                    let not = self.take_if(Token::Not)?;
                    self.expect(Token::Null, "`NULL` or `NOT NULL` after `IS`")?;
                    self.count()?;
                    left = self.part(Node::IsNull(Box::new(left.node)), left.depth)?;
                    if not {
                        left = self.part(Node::Not(Box::new(left.node)), left.depth)?;
                    }
                }
                _ => return Ok(left),
            }
        }
    }

    fn comparison(&mut self) -> Result<Part, ParseError> {
        let mut left = self.unary()?;
        loop {
            let order = match self.peek()?.0 {
                Token::Greater => Order::Greater,
                Token::GreaterOrEqual => Order::GreaterOrEqual,
                Token::Less => Order::Less,
                Token::LessOrEqual => Order::LessOrEqual,
                Token::Contains | Token::StartsWith | Token::EndsWith | Token::Between | Token::In => {
                    left = self.words(left, false)?;
                    continue;
                }
                Token::Not => {
                    self.take()?;
                    left = self.words(left, true)?;
                    continue;
                }
                _ => return Ok(left),
            };
            self.take()?;
            let right = self.unary()?;
            left = self.ordered(order, left, right)?;
        }
    }

    /// The comparisons that are words: `left [NOT] BETWEEN …`.
    fn words(&mut self, left: Part, not: bool) -> Result<Part, ParseError> {
        let search = match self.take()? {
            Token::Between => return self.between(left, not),
            Token::In => return self.within(left, not),
            Token::Contains => Search::Contains,
            Token::StartsWith => Search::StartsWith,
            Token::EndsWith => Search::EndsWith,
            _ => return Err(self.wrong("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH was expected after `NOT`")),
        };
        let text = self.string()?;
        self.count()?;
        self.part(Node::Search { search, within: Box::new(left.node), text, not }, left.depth)
    }

    fn between(&mut self, value: Part, not: bool) -> Result<Part, ParseError> {
        let low = self.unary()?;
        self.expect(Token::And, "`AND` and the upper bound of BETWEEN")?;
        let high = self.unary()?;
        if !not
            && let (Node::Literal(low), Node::Literal(high)) = (&low.node, &high.node)
            && compare(*high, *low).is_ok_and(|ordering| ordering.is_lt())
        {
            return Err(self.wrong("the bounds of BETWEEN are the wrong way round: the first must not be the greater"));
        }
        let again = Part { node: value.node.clone(), depth: value.depth };
        let (from, to) = if not { (Order::Less, Order::Greater) } else { (Order::GreaterOrEqual, Order::LessOrEqual) };
        let (from, to) = (self.ordered(from, value, low)?, self.ordered(to, again, high)?);
        let depth = from.depth.max(to.depth);
        let both = vec![from.node, to.node];
        self.part(if not { Node::Any(both) } else { Node::All(both) }, depth)
    }

    fn within(&mut self, left: Part, not: bool) -> Result<Part, ParseError> {
        self.expect(Token::Open, "`(` after `IN`")?;
        let mut texts = vec![self.string()?];
        while self.take_if(Token::Comma)? {
            texts.push(self.string()?);
        }
        self.expect(Token::Close, "`,` or `)` in the list of IN")?;
        let Node::Property(property) = left.node else {
            return Err(self.wrong("only a property can be IN a list"));
        };
        texts.sort();
        self.count()?;
        self.part(Node::In { property, texts, not }, 0)
    }

    fn unary(&mut self) -> Result<Part, ParseError> {
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return Err(self.too_deep());
        }
        let part = match self.peek()?.0 {
            Token::Plus => {
                self.take()?;
                self.unary()?
            }
            Token::Minus => {
                self.take()?;
                let of = self.unary()?;
                self.part(Node::Negative(Box::new(of.node)), of.depth)?
            }
            Token::Not => {
                self.take()?;
                let of = self.unary()?;
                let of = self.condition(of)?;
                self.part(Node::Not(Box::new(of.node)), of.depth)?
            }
            _ => self.primary()?,
        };
        self.nesting -= 1;
        Ok(part)
    }

    fn primary(&mut self) -> Result<Part, ParseError> {
        let node = match self.take()? {
            Token::Text(written) => Node::Text(written.replace("''", "'")),
            Token::Whole(written) => {
                let number: Option<i64> = written.trim_end_matches(['l', 'L']).parse().ok();
                match number {
                    Some(number) => Node::Literal(i32::try_from(number).map_or(Value::Long(number), Value::Int)),
                    None => return Err(self.wrong(&format!("{written} needs more than 64 bits"))),
                }
            }
            Token::Floating(written) => match number::double(written) {
                Some(number) if number > 0.0 && number.is_finite() => Node::Literal(Value::Double(number)),
                // Apache's lower bound is the least number above 0, so that 0.0 is out of bounds.
                Some(_) => {
                    let help = "a number with a point is from 4.9E-324 to 1.7976931348623157E308; 0 is written 0";
                    return Err(self.wrong(&format!("{written} is out of bounds: {help}")));
                }
                None => return Err(self.wrong(&format!("{written} is no number"))),
            },
            Token::True => Node::Literal(Value::Boolean(true)),
            Token::False => Node::Literal(Value::Boolean(false)),
            Token::Null => Node::Literal(Value::Null),
            Token::Name(name) => Node::Property(self.name(name)?),
            Token::Open => {
                let part = self.or()?;
                self.expect(Token::Close, "`)`")?;
                return Ok(part);
            }
            Token::End => return Err(self.wrong("it ends where a property, a value or `(` was expected")),
            _ => return Err(self.wrong("a property, a value or `(` was expected")),
        };
        Ok(Part { node, depth: 0 })
    }

    // What only some operands may be.

    /// Where a condition must stand: a property's name is taken as one.
    #[doc(alias = "asBooleanExpression")]
    fn condition(&mut self, part: Part) -> Result<Part, ParseError> {
        match part.node {
            Node::Property(n) => {
                self.count()?;
                Ok(Part { node: Node::Cast(n), depth: 0 })
            }
            node if is_condition(&node) => Ok(Part { node, depth: part.depth }),
            _ => Err(self.wrong("a condition was expected, this is a value: compare it with something")),
        }
    }

    fn equal(&mut self, left: Part, right: Part) -> Result<Part, ParseError> {
        for side in [&left, &right] {
            if side.node == Node::Literal(Value::Null) {
                return Err(self.wrong("nothing equals NULL: write `IS NULL` or `IS NOT NULL`"));
            }
        }
        let constant = |node: &Node| matches!(node, Node::Literal(_) | Node::Text(_));
        if is_condition(&left.node) && constant(&left.node) && constant(&right.node) && !is_condition(&right.node) {
            return Err(self.wrong("TRUE and FALSE equal no number and no text"));
        }
        self.count()?;
        let depth = left.depth.max(right.depth);
        self.part(Node::Equal(Box::new([left.node, right.node])), depth)
    }

    #[doc(alias = "checkLessThanOperand")]
    fn ordered(&mut self, order: Order, left: Part, right: Part) -> Result<Part, ParseError> {
        for side in [&left, &right] {
            if is_condition(&side.node) || matches!(side.node, Node::Text(_)) {
                return Err(self.wrong("only properties and numbers are greater or less than others"));
            }
        }
        self.count()?;
        let depth = left.depth.max(right.depth);
        self.part(Node::Ordered(order, Box::new([left.node, right.node])), depth)
    }

    fn string(&mut self) -> Result<String, ParseError> {
        match self.take()? {
            Token::Text(written) => Ok(written.replace("''", "'")),
            _ => Err(self.wrong("a string between single quotes was expected")),
        }
    }

    fn name(&mut self, name: &'a str) -> Result<usize, ParseError> {
        if let Some(n) = self.names.iter().position(|known| *known == name) {
            return Ok(n);
        }
        if self.names.len() == NAMES_MAX {
            return Err(self.wrong(&format!("it names more than {NAMES_MAX} properties")));
        }
        self.names.push(name);
        Ok(self.names.len() - 1)
    }

    // Limits.

    fn part(&self, node: Node, below: usize) -> Result<Part, ParseError> {
        if below == DEPTH_MAX { Err(self.too_deep()) } else { Ok(Part { node, depth: below + 1 }) }
    }

    fn count(&mut self) -> Result<(), ParseError> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(
                self.wrong(&format!("it has more than {CONDITIONS_MAX} conditions; `IN` takes many texts as one"))
            );
        }
        Ok(())
    }

    fn too_deep(&self) -> ParseError {
        self.wrong(&format!("its parts lie in one another more than {DEPTH_MAX} deep"))
    }

    // Words.

    fn peek(&mut self) -> Result<(Token<'a>, usize, usize), ParseError> {
        match self.next {
            Some(next) => Ok(next),
            None => Ok(*self.next.insert(token(self.text, self.at)?)),
        }
    }

    fn take(&mut self) -> Result<Token<'a>, ParseError> {
        let (token, _, end) = self.peek()?;
        self.at = end;
        self.next = None;
        Ok(token)
    }

    fn take_if(&mut self, wanted: Token<'a>) -> Result<bool, ParseError> {
        let taken = self.peek()?.0 == wanted;
        if taken {
            self.take()?;
        }
        Ok(taken)
    }

    fn expect(&mut self, wanted: Token<'a>, what: &str) -> Result<(), ParseError> {
        if self.take_if(wanted)? { Ok(()) } else { Err(self.wrong(&format!("{what} was expected"))) }
    }

    /// Something is wrong about where the last token ended.
    fn wrong(&self, reason: &str) -> ParseError {
        ParseError::new(self.text, self.at, reason.to_owned())
    }
}

/// Does it come out as true, false or unknown, for Apache's parser?
#[doc(alias = "org.apache.rocketmq.filter.expression.BooleanExpression")]
fn is_condition(node: &Node) -> bool {
    match node {
        Node::Literal(value) => matches!(value, Value::Null | Value::Boolean(_)),
        Node::Text(_) | Node::Property(_) | Node::Negative(_) => false,
        _ => true,
    }
}
