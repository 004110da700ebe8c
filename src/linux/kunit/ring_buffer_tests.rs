// SPDX-License-Identifier: GPL-2.0

//! The queue of bounded size.

#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_ring_buffer))]
mod tests {
    use crate::linux::runtime::ring_buffer::RingBuffer;
    use kernel::prelude::*;

    fn queue(capacity: usize) -> Result<RingBuffer<u32>> {
        RingBuffer::with_capacity(capacity).map_err(|_| ENOMEM)
    }

    #[test]
    fn values_come_out_in_order_through_many_rounds() -> Result {
        let mut queue = queue(3)?;
        for round in 0..10 {
            assert!(queue.push(round).is_ok());
            assert!(queue.push(round + 100).is_ok());
            assert_eq!(queue.len(), 2);
            assert_eq!(queue.pop(), Some(round));
            assert_eq!(queue.pop(), Some(round + 100));
            assert_eq!(queue.pop(), None);
        }
        Ok(())
    }

    #[test]
    fn a_full_queue_hands_the_value_back() -> Result {
        let mut queue = queue(2)?;
        assert!(queue.push(1).is_ok());
        assert!(queue.push(2).is_ok());
        assert_eq!(queue.push(3), Err(3));
        assert_eq!(queue.push_front(4), Err(4));
        assert_eq!(queue.pop(), Some(1));
        assert!(queue.push(5).is_ok());
        assert_eq!(queue.pop(), Some(2));
        assert_eq!(queue.pop(), Some(5));
        Ok(())
    }

    #[test]
    fn a_value_put_back_is_the_next_one_out() -> Result {
        let mut queue = queue(3)?;
        for value in 1..=3 {
            assert!(queue.push(value).is_ok());
        }
        assert_eq!(queue.pop(), Some(1));
        assert!(queue.push_front(1).is_ok());
        assert_eq!(queue.pop(), Some(1));
        assert_eq!(queue.pop(), Some(2));
        Ok(())
    }

    #[test]
    fn a_queue_without_places_takes_nothing() -> Result {
        let mut queue = queue(0)?;
        assert_eq!(queue.push(1), Err(1));
        assert_eq!(queue.push_front(1), Err(1));
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.len(), 0);
        Ok(())
    }
}
