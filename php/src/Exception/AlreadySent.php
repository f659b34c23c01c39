<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** The answer's headers are out already, or the answer was sent before. */
final class AlreadySent extends \LogicException implements WsgateException
{
}
