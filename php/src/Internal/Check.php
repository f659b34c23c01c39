<?php

declare(strict_types=1);

namespace Wsgate\Internal;

use Wsgate\Exception\InvalidValue;

/**
 * What may stand in a name or a header's value.
 *
 * @internal
 */
final class Check
{
    /** 1 to 164 characters of A-Z a-z 0-9 _ - = @ . : so that a list of channels is unambiguous. */
    public static function channel(string $name): string
    {
        if (!preg_match('/\A[A-Za-z0-9_\-=@.:]{1,164}\z/', $name)) {
            throw new InvalidValue(
                self::shown($name) . ' is no channel: 1 to 164 of A-Z a-z 0-9 _ - = @ . :'
            );
        }
        return $name;
    }

    public static function user(string $user): string
    {
        if (!self::isPrintable($user) || !preg_match('/\A.{1,128}\z/u', $user)) {
            throw new InvalidValue(
                self::shown($user) . ' is no user: 1 to 128 printable characters of UTF-8, no space '
                . 'at either end'
            );
        }
        return $user;
    }

    public static function variableValue(string $value): string
    {
        if (!self::isPrintable($value)) {
            throw new InvalidValue(
                self::shown($value) . ' cannot be kept: printable characters of UTF-8 only, no space at '
                . 'either end; encode it'
            );
        }
        return $value;
    }

    private static function isPrintable(string $text): bool
    {
        // What a header cannot carry, line ends above all, is not printable; a header loses outer spaces.
        return preg_match('/\A(?:[^\p{C}\p{Z}]| )*\z/u', $text) === 1 && trim($text, ' ') === $text;
    }

    public static function connectionId(string $id): string
    {
        if (!preg_match('/\A[0-9a-f]{32}\z/', $id)) {
            throw new InvalidValue(self::shown($id) . ' is no connection id: 32 hexadecimal digits');
        }
        return $id;
    }

    public static function variable(string $name): string
    {
        if (!preg_match('/\A[A-Za-z][A-Za-z0-9_]{0,63}\z/', $name)) {
            throw new InvalidValue(
                self::shown($name) . ' is no name of a variable: a letter, then letters, digits, _'
            );
        }
        return $name;
    }

    /** RFC 9110 §5.5: what ends a line would begin a header of its own. */
    public static function headerValue(string $value, string $of): string
    {
        if (preg_match('/[\x00-\x08\x0a-\x1f\x7f]/', $value)) {
            throw new InvalidValue("$of: " . self::shown($value) . ' has a control character in it');
        }
        return $value;
    }

    /** RFC 9110 §5.6.2. */
    public static function token(string $value, string $of): string
    {
        if (!preg_match('/\A[!#$%&\'*+\-.^_`|~0-9A-Za-z]+\z/', $value)) {
            throw new InvalidValue("$of: " . self::shown($value) . ' is not a token');
        }
        return $value;
    }

    /** RFC 6455 §7.4 and the IANA registry: the codes that a server may send. */
    public static function closeCode(int $code): int
    {
        $fixed = $code >= 1000 && $code <= 1014 && !in_array($code, [1004, 1005, 1006], true);
        if (!$fixed && ($code < 3000 || $code > 4999)) {
            throw new InvalidValue(
                "$code cannot be sent as a close code; take one of your own, 4000 to 4999"
            );
        }
        return $code;
    }

    /** RFC 6455 §5.5: a control frame holds 125 bytes, two of them the code. */
    public static function closeReason(string $reason): string
    {
        if (strlen($reason) > 123 || !self::isPrintable($reason)) {
            throw new InvalidValue(
                self::shown($reason) . ' is no reason: at most 123 bytes of UTF-8, printable, no space '
                . 'at either end'
            );
        }
        return $reason;
    }

    public static function isUtf8(string $text): bool
    {
        return preg_match('//u', $text) === 1;
    }

    public static function shown(string $value): string
    {
        $short = strlen($value) > 60 ? substr($value, 0, 60) . '...' : $value;
        return json_encode($short, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES)
            ?: 'the value';
    }
}
