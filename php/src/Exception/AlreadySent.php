<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** The request was answered already, or something was printed before the answer. */
final class AlreadySent extends \LogicException implements WsgateException
{
}
